"""What a fastai user would type, on the `Learner` and the `DataLoaders` that a recipe hands over"""
import importlib, inspect, os, pkgutil
import pytest, torch
import fastrecipes # noqa: F401 - before fastai: without its warnings
import fastai.callback
from fastai.callback.all import (
    ActivationStats, BnFreeze, CSVLogger, CutMix, EarlyStoppingCallback, FetchPredsCallback, GradientAccumulation,
    GradientClip, HookCallback, LRFinder, MCDropoutCallback, MixedPrecision, MixUp, ModelResetter, ModelToHalf,
    NonNativeMixedPrecision, ParamScheduler, ProgressCallback, ReduceLROnPlateau, RNNCallback, RNNRegularizer,
    SaveModelCallback, SchedLin, ShortEpochCallback, ShowGraphCallback, TerminateOnNaNCallback, TrackerCallback,
)
from fastai.callback.channelslast import ChannelsLast
from fastai.callback.core import Callback, GatherPredsCallback, TrainEvalCallback
from fastai.callback.data import CollectDataCallback
from fastai.callback.mixup import MixHandler
from fastai.callback.tensorboard import TensorBoardBaseCallback, TensorBoardCallback, TensorBoardProjectorCallback
from fastai.interpret import ClassificationInterpretation
from fastai.learner import Learner
from fastai.losses import CrossEntropyLossFlat
from fastai.metrics import accuracy, error_rate, F1Score, Perplexity, RocAucBinary
from fastai.optimizer import SGD
from fastai.data.transforms import Normalize
from fastai.vision.learner import vision_learner
from torch import nn
from torchvision.models import resnet18
from fastrecipes.answer.climb import compare
from fastrecipes.data.images import Split
from fastrecipes.data.loaders import dataloaders, ImageDataset, ImageDL
from fastrecipes.data.sources import load
from fastrecipes.errors import InputError
from fastrecipes.keep.store import load as load_model, save
from fastrecipes.ladder.recipe import fit
from fastrecipes.lessons.nets import linear
from fastrecipes.lessons.sgd import batch_accuracy, BasicOptim
from fastrecipes.training.fitting import fit_learner
from conftest import refused

KINDS = ['linear', 'mlp', 'convnet'] # One column and a loss of the lesson, fastai's loss, and another precision


@pytest.fixture(scope='module')
def digits(): return load('digits')

@pytest.fixture(scope='module')
def two(): return load('digits', classes='3,7')

@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    "Callbacks write into the current folder"
    monkeypatch.chdir(tmp_path)

def quiet(learn, *args, how='fit', **kwargs):
    with learn.no_bar(), learn.no_logging(): getattr(learn, how)(*args, **kwargs)
    return learn


# Two classes

@pytest.mark.parametrize('name', ['mlp', 'convnet'])
def test_fastais_metrics_read_two_classes_right(name, two):
    fitted = fit(name, two, device='cpu', epochs=3)
    learn = fitted.learner
    assert fitted.scores.shape[1] == 2 and isinstance(learn.loss_func, CrossEntropyLossFlat)
    learn.metrics = [accuracy, F1Score(), error_rate, RocAucBinary()]
    loss, got, f1, wrong, auc = learn.validate()
    right = fitted.predictions == fitted.targets
    hits = int((right & (fitted.targets == 1)).sum())
    assert (loss, got) == pytest.approx((fitted.loss, fitted.accuracy), abs=1e-4) and wrong == pytest.approx(1 - got)
    assert f1 == pytest.approx(2 * hits / int((fitted.predictions == 1).sum() + (fitted.targets == 1).sum()))
    assert auc > .9

def test_the_interpretation_of_two_classes_is_that_of_the_predictions(two):
    fitted = fit('mlp', two, device='cpu', epochs=3)
    with fitted.learner.no_bar(): matrix = ClassificationInterpretation.from_learner(fitted.learner).confusion_matrix()
    assert matrix.trace() == (fitted.predictions == fitted.targets).sum() and matrix.sum() == len(two.valid)

@pytest.mark.parametrize('metric', [accuracy, error_rate, F1Score(), RocAucBinary()])
@pytest.mark.parametrize('name', ['linear', 'simple_net'])
def test_one_column_refuses_a_metric_that_would_misread_it(name, metric, two):
    learn = fit(name, two, device='cpu', epochs=1).learner
    learn.metrics = [batch_accuracy, metric]
    with learn.no_bar(), pytest.raises(InputError, match='one column.*batch_accuracy.*mlp'): learn.validate()

def test_after_a_refusal_the_learner_can_be_used_again(two):
    learn = fit('linear', two, device='cpu', epochs=2).learner
    good = list(learn.metrics)
    learn.metrics = [F1Score()]
    with learn.no_bar(), pytest.raises(InputError): learn.validate()
    with learn.no_bar(), pytest.raises(InputError): learn.fit(1)
    assert not learn.lock.locked()
    learn.metrics = good
    with learn.no_bar(): assert learn.validate()[1] > .9

@pytest.mark.parametrize('cbs', [[], CSVLogger, [CSVLogger()]], ids=str)
def test_callbacks_of_the_caller_do_not_replace_the_check(cbs, two, tmp_path):
    learn = load_model(save(fit('linear', two, device='cpu', epochs=1), tmp_path/'m'), 'cpu').learner(two, cbs=cbs)
    learn.metrics = [accuracy]
    with learn.no_bar(), learn.no_logging(), pytest.raises(InputError, match='one column'): learn.fit(1, .1)

@pytest.mark.parametrize('make, wanted', [
    (lambda images: dataloaders(images, 64, 'cpu'), ()),
    (lambda images: normalised(dataloaders(images, 64, 'cpu')), ('Normalize', 'stats='))])
def test_a_learner_of_a_recipe_is_judged_by_the_pixels_it_learned_from(make, wanted, digits):
    from fastrecipes.ladder.recipe import as_outcome
    learn = quiet(Learner(make(digits), linear(64, 10), metrics=accuracy), 1, .1)
    if not wanted: assert as_outcome(learn, 'mine').learner is learn
    else:
        with refused('mine', *wanted): as_outcome(learn, 'mine')

def normalised(dls):
    dls.add_tfms([Normalize.from_stats([.3], [.02], cuda=False)], 'after_batch')
    return dls

@pytest.mark.parametrize('loss', [CrossEntropyLossFlat(), nn.CrossEntropyLoss()])
def test_one_column_refuses_a_loss_of_several(loss, two):
    learn = fit('linear', two, device='cpu', epochs=1).learner
    learn.loss_func = loss
    with learn.no_bar(), pytest.raises(InputError, match='CrossEntropyLoss.*one column'): learn.fit(1)

def test_one_column_takes_metrics_that_read_it_or_the_loss(two):
    def of_the_second_class(scores, targets): return ((scores.flatten() > 0) & (targets == 1)).float().mean()
    fitted = fit('linear', two, device='cpu', epochs=2)
    fitted.learner.metrics = [batch_accuracy, of_the_second_class, Perplexity()]
    with fitted.learner.no_bar(): _, got, second, perplexity = fitted.learner.validate()
    assert got == pytest.approx(fitted.accuracy) and 0 < second < 1 < perplexity

@pytest.mark.parametrize('name', ['linear', 'simple_net'])
def test_ten_columns_take_every_metric(name, digits):
    fitted = fit(name, digits, device='cpu', epochs=1)
    fitted.learner.metrics = [accuracy, F1Score(average='macro')]
    with fitted.learner.no_bar(): assert fitted.learner.validate()[1] == pytest.approx(fitted.accuracy)

@pytest.mark.parametrize('name', KINDS)
def test_the_metric_has_the_name_that_the_table_shows(name, two):
    assert fit(name, two, device='cpu', epochs=1).learner.recorder.metric_names[3] == 'accuracy'


# Data that tells its loss

@pytest.mark.parametrize('classes', ['3,7', None])
def test_loss_and_outputs_are_inferred(classes):
    images = load('digits', classes=classes)
    dls = dataloaders(images, device='cpu')
    learn = quiet(Learner(dls, linear(64, dls.c), metrics=accuracy), 2, .1)
    assert isinstance(learn.loss_func, CrossEntropyLossFlat) and learn.recorder.values[-1][2] > .5
    net = vision_learner(dls, resnet18, pretrained=False, n_in=1).model
    assert net(torch.zeros(2, 1, 32, 32)).shape == (2, len(images.classes))


# No training batch of one image

def loader(n, bs, split_idx=0, **kwargs):
    "Of `n` numbered images, in order"
    split = Split(torch.arange(n, dtype=torch.uint8).view(n, 1, 1, 1), torch.zeros(n).long())
    return ImageDL(ImageDataset(split, ('a', 'b'), split_idx), bs, **kwargs)

def sizes(dl): return [len(y) for _, y in dl]

@pytest.mark.parametrize('n', [2, 3, 9, 17, 33, 255])
@pytest.mark.parametrize('bs', [2, 3, 4, 8, 16, 64])
@pytest.mark.parametrize('shuffle', [True, False])
def test_no_training_batch_is_a_lone_image_and_each_image_comes_once(n, bs, shuffle):
    dl = loader(n, bs, shuffle=shuffle)
    seen = sorted(int(round(float(v) * 255)) for x, _ in dl for v in x.flatten())
    assert seen == [*range(n)] and min(sizes(dl)) > 1 and len(sizes(dl)) == len(dl)
    assert set(sizes(dl)[:-1]) <= {bs} and max(sizes(dl)) <= bs + 1

def test_one_image_is_a_batch_and_others_keep_a_lone_one():
    assert sizes(loader(1, 8)) == [1] and sizes(loader(3, 1)) == [1, 1, 1]
    assert dataloaders(load('digits'), 1, 'cpu').train.bs == 2
    assert sizes(loader(9, 8, split_idx=1)) == [8, 1]
    assert sizes(loader(9, 8, drop_last=True)) == [8]

def test_batch_norm_and_mixup_train_on_a_set_with_a_lone_last_image(two):
    assert len(two.train) % 8 == 1
    quiet(vision_learner(dataloaders(two, 8, 'cpu'), resnet18, pretrained=False, n_in=1), 1)
    fit('linear', two, device='cpu', epochs=1, bs=8, cbs=[MixUp()])


# Schedules and optimisers

@pytest.mark.parametrize('how', ['fit_one_cycle', 'fine_tune', 'fit_flat_cos', 'lr_find'])
@pytest.mark.parametrize('name', [*KINDS, 'simple_net'])
def test_every_schedule_of_fastai_runs(name, how, digits):
    learn = fit(name, digits, device='cpu', epochs=1).learner
    if how == 'lr_find':
        with learn.no_bar(): assert learn.lr_find(num_it=20, show_plot=False).valley > 0
    else: assert len(quiet(learn, 1, how=how).recorder.values) == 1

def test_basic_optim_is_an_optimiser_of_a_learner_with_the_steps_of_sgd(digits):
    found = {}
    for opt in (BasicOptim, SGD):
        torch.manual_seed(0)
        dls = dataloaders(digits, device='cpu', shuffle=False)
        learn = quiet(Learner(dls, linear(64, 10), opt_func=opt, moms=(0, 0, 0)), 2, .1)
        found[opt] = learn.model[1].weight.detach()
    assert torch.equal(*found.values())

def test_basic_optim_follows_a_one_cycle_without_momentum(digits):
    torch.manual_seed(0)
    learn = quiet(Learner(dataloaders(digits, device='cpu'), linear(64, 10), opt_func=BasicOptim), 2, .1,
                  how='fit_one_cycle')
    rates = learn.recorder.hps['lr']
    assert max(rates) == pytest.approx(.1, rel=.01) and rates[-1] < .001

def test_basic_optim_refuses_a_weight_decay_that_it_does_not_have(digits):
    learn = Learner(dataloaders(digits, device='cpu'), linear(64, 10), opt_func=BasicOptim)
    with learn.no_bar(), refused('wd'): learn.fit(1, .1, wd=.1)

def test_basic_optim_is_saved_and_loaded_with_its_hyperparameters(digits, tmp_path):
    def new(): return Learner(dataloaders(digits, device='cpu'), linear(64, 10), opt_func=BasicOptim, path=tmp_path)
    learn = quiet(new(), 1, .1)
    learn.save('m', with_opt=True)
    other = new()
    other.load('m', with_opt=True)
    assert torch.equal(other.model[1].weight, learn.model[1].weight) and other.opt.hypers == learn.opt.hypers


# Callbacks

WORK = dict(
    ChannelsLast=ChannelsLast, TrainEvalCallback=TrainEvalCallback, FetchPredsCallback=FetchPredsCallback,
    CollectDataCallback=CollectDataCallback, MixedPrecision=lambda: MixedPrecision(amp_mode='bf16'),
    HookCallback=lambda: HookCallback(hook=lambda *args: None), ActivationStats=lambda: ActivationStats(with_hist=True),
    MixUp=MixUp, CutMix=CutMix, MCDropoutCallback=MCDropoutCallback, ProgressCallback=ProgressCallback,
    ShowGraphCallback=ShowGraphCallback, CSVLogger=CSVLogger, RNNRegularizer=RNNRegularizer,
    ParamScheduler=lambda: ParamScheduler(dict(lr=SchedLin(.1, .01))), TensorBoardCallback=TensorBoardCallback,
    TensorBoardProjectorCallback=TensorBoardProjectorCallback, TerminateOnNaNCallback=TerminateOnNaNCallback,
    TrackerCallback=TrackerCallback, EarlyStoppingCallback=lambda: EarlyStoppingCallback(monitor='accuracy'),
    SaveModelCallback=lambda: SaveModelCallback(monitor='accuracy'), ReduceLROnPlateau=ReduceLROnPlateau,
    ShortEpochCallback=lambda: ShortEpochCallback(.5), GradientAccumulation=lambda: GradientAccumulation(16),
    GradientClip=GradientClip, BnFreeze=BnFreeze)
CANNOT = dict( # And why
    GatherPredsCallback='collects predictions; `get_preds` uses it',
    LRFinder='is for `learn.lr_find()`, and undoes its training',
    ModelToHalf='needs a GPU', NonNativeMixedPrecision='needs a GPU',
    ModelResetter='needs a recurrent model', RNNCallback='needs a recurrent model')
CLASSES = dict(GatherPredsCallback=GatherPredsCallback, LRFinder=LRFinder, ModelToHalf=ModelToHalf,
               NonNativeMixedPrecision=NonNativeMixedPrecision, ModelResetter=ModelResetter, RNNCallback=RNNCallback)

def all_callbacks():
    "The names of fastai's callbacks, without base classes and those of services"
    found = set()
    for module in pkgutil.iter_modules(fastai.callback.__path__):
        try: m = importlib.import_module(f'fastai.callback.{module.name}')
        except ImportError: continue # A service whose package is not there
        found |= {name for name, o in vars(m).items()
                  if inspect.isclass(o) and issubclass(o, Callback) and o.__module__ == m.__name__}
    return found - {c.__name__ for c in (Callback, MixHandler, TensorBoardBaseCallback)}

def test_every_callback_of_fastai_is_known_to_work_or_not():
    services = {'WandbCallback', 'CometCallback', 'CaptumInterpretation', 'AzureMLCallback', 'NeptuneCallback'}
    assert all_callbacks() - services == set(WORK) | set(CANNOT)

@pytest.mark.parametrize('callback', WORK)
@pytest.mark.parametrize('name', KINDS)
def test_a_callback_of_fastai_works(name, callback, two, capsys):
    fitted = fit(name, two, device='cpu', epochs=2, cbs=WORK[callback]())
    assert len(fitted.history) == 2 and fitted.accuracy > .9

@pytest.mark.parametrize('callback', CANNOT)
def test_the_others_raise_and_are_not_ignored(callback, two):
    with pytest.raises((AttributeError, AssertionError, RuntimeError, ValueError)):
        fit('mlp', two, device='cpu', epochs=2, cbs=CLASSES[callback])

@pytest.mark.parametrize('cbs', [None, CSVLogger, CSVLogger(), [CSVLogger], (CSVLogger(),)], ids=str)
def test_callbacks_are_given_as_fastai_takes_them(cbs, two):
    for i, run in enumerate((
            lambda: fit('mlp', two, device='cpu', epochs=1, cbs=cbs),
            lambda: compare(two, 'mlp', device='cpu', cbs=cbs, settings={'mlp': {'epochs': 1}}),
            lambda: fit_learner(Learner(dataloaders(two, device='cpu'), linear(64, 2)), 1, .1, cbs=cbs))):
        if os.path.exists('history.csv'): os.remove('history.csv')
        run()
        assert os.path.exists('history.csv') == (cbs is not None), i

def test_the_model_of_the_best_epoch_is_saved_by_the_shown_name(two):
    fit('mlp', two, device='cpu', epochs=2, cbs=SaveModelCallback(monitor='accuracy', fname='best'))
    assert os.path.exists('models/best.pth')

def test_no_hyperparameter_is_none(two):
    assert None not in fit('mlp', two, device='cpu', epochs=1).learner.opt.hypers[0].values()
