"The MNIST logistic regression lesson: fit and evaluate against PyTorch, and a history that grows over several calls"
import copy, math
import pandas as pd, pytest, torch, torch.nn.functional as F
from torch import nn
from torch.testing import assert_close
from fastrecipes.lessons.logistic import evaluate, fit
from fastrecipes.ladder.recipe import get_recipe
from fastrecipes.lessons.sgd import BasicOptim, batch_accuracy, cross_entropy, train_model


@pytest.fixture(params=[1, 3], ids=['two classes', 'three classes'])
def task(request):
    "A model, training batches and validation batches, the last of which are smaller"
    torch.manual_seed(0)
    x = torch.randn(50, 4)
    y = (x[:, 0] > 0).long() + (x[:, 1] > 0).long() * (request.param > 1)
    train = list(zip(x[:30].split(8), y[:30].split(8)))
    valid = list(zip(x[30:].split(8), y[30:].split(8)))
    return nn.Linear(4, request.param), train, valid

def loss_of(scores, y):
    if scores.shape[1] > 1: return F.cross_entropy(scores, y)
    return F.binary_cross_entropy_with_logits(scores.flatten(), y.float())


def test_evaluate_gives_loss_and_accuracy_over_all_images_and_changes_nothing(task):
    model, _, valid = task
    model = nn.Sequential(nn.Dropout(.5), model).train()
    before = copy.deepcopy(model.state_dict())
    x, y = map(torch.cat, zip(*valid))
    with torch.no_grad(): scores = model[1](x)
    got = evaluate(model, valid)
    assert got['loss'] == pytest.approx(loss_of(scores, y).item(), rel=1e-5)
    assert got['accuracy'] == pytest.approx(batch_accuracy(scores, y).item())
    assert model.training and all(p.grad is None for p in model.parameters())
    assert_close(model.state_dict(), before, rtol=0, atol=0)

def test_fit_is_pytorchs_loop(task):
    model, train, valid = task
    theirs = nn.Linear(4, model.out_features)
    theirs.load_state_dict(model.state_dict())
    history = fit(3, .1, model, train, valid)
    opt, losses = torch.optim.SGD(theirs.parameters(), .1), []
    for _ in range(3):
        total = 0
        for x, y in train:
            loss = loss_of(theirs(x), y)
            opt.zero_grad()
            loss.backward()
            opt.step()
            total += loss.item() * len(y)
        losses.append(total / 30)
    assert_close(model.state_dict(), theirs.state_dict())
    assert history.train_loss.tolist() == pytest.approx(losses, rel=1e-5)
    judged = evaluate(model, valid)
    assert history.valid_loss.iloc[-1] == pytest.approx(judged['loss'])
    assert history.accuracy.iloc[-1] == pytest.approx(judged['accuracy'])

def test_four_calls_are_one_with_a_history_that_grows(task):
    model, train, valid = task
    other = nn.Linear(4, model.out_features)
    other.load_state_dict(model.state_dict())
    whole, history = fit(8, .1, other, train, valid), None
    for i in range(4):
        history = fit(2, .1, model, train, valid, history=history)
        assert history.epoch.tolist() == list(range(2 * i + 2)) and history.epoch.dtype == int
    assert history.drop(columns='seconds').equals(whole.drop(columns='seconds'))
    assert torch.equal(model.weight, other.weight)

def test_the_history_that_is_handed_in_is_left_as_it_was(task):
    first = fit(2, .1, *task)
    kept = first.copy()
    fit(2, .1, *task, history=first)
    assert first.equals(kept) and list(first) == ['epoch', 'train_loss', 'valid_loss', 'accuracy', 'seconds']

def test_no_epochs_give_the_history_back(task):
    first = fit(2, .1, *task)
    assert fit(0, .1, *task, history=first).equals(first) and len(fit(0, .1, *task)) == 0

def test_any_optimiser_and_each_epoch_is_reported(task):
    model, train, valid = task
    other = nn.Linear(4, model.out_features)
    class Hook:
        stop = False
        seen = []
        def after_epoch(self, model, row):
            self.seen.append(row['epoch'])
            self.stop = len(self.seen) == 4
    other.load_state_dict(model.state_dict())
    fit(2, .1, model, train, valid, opt_func=BasicOptim, hooks=[Hook()])
    train_model(other, train, valid, BasicOptim(other.parameters(), .1), 2, cross_entropy)
    assert torch.equal(model.weight, other.weight) and Hook.seen == [0, 1]
    assert fit(5, .1, model, train, valid, hooks=[Hook()]).epoch.tolist() == [0, 1], 'and can stop it'

def test_it_learns(task):
    model, train, valid = task
    before = evaluate(model, train)
    fit(200, 1., model, train, valid)
    after = evaluate(model, train)
    assert after['accuracy'] >= .8 > before['accuracy'] and after['loss'] < before['loss'] / 2

def test_a_model_that_knows_nothing_pays_the_log_of_the_number_of_classes(task):
    model, _, valid = task
    for p in model.parameters(): nn.init.zeros_(p)
    assert evaluate(model, valid)['loss'] == pytest.approx(math.log(max(model.out_features, 2)), rel=1e-5)


@pytest.mark.parametrize('source', ['digits', 'threes_sevens'])
def test_the_recipe_is_the_lessons_loop_with_its_settings(source, request):
    "From the same start and in the same order of the images"
    from fastai.torch_core import no_random
    from fastrecipes.data.loaders import dataloaders
    from fastrecipes.lessons.nets import linear
    images = request.getfixturevalue(source)
    f = get_recipe('logistic')(images, seed=3, device='cpu', epochs=4, best=False)
    with no_random(3):
        model, dls = linear(64, 10 if source == 'digits' else 1), dataloaders(images, 128, 'cpu')
        history = fit(4, .001, model, dls.train, dls.valid)
    ours, theirs = (h[['epoch', 'train_loss', 'valid_loss', 'accuracy']].to_numpy() for h in (f.history, history))
    assert ours == pytest.approx(theirs, rel=1e-5)
    assert_close(f.model.state_dict(), model.state_dict())
    assert isinstance(f.history, pd.DataFrame) and f.learner is None
    assert (f.settings['lr'], f.settings['bs']) == (.001, 128)
