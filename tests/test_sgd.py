"""The hand-written gradient descent: by hand, against PyTorch to the last bit, and against fastai's `Learner`"""
import math, random
from functools import partial
import pytest, torch, torch.nn.functional as F
from fastai.learner import Learner
from fastai.optimizer import OptimWrapper
from hypothesis import given, settings, strategies as st
from torch import nn
from torch.testing import assert_close
from conftest import refused
from fastrecipes.errors import InputError
from fastrecipes.data.loaders import dataloaders, to_floats
from fastrecipes.lessons.nets import linear, n_outputs
from fastrecipes.ladder.recipe import fit
from fastrecipes.lessons.sgd import (
    basic_opt, BasicOptim, batch_accuracy, calc_grad, check_losses, class_probs, ClassLoss, cross_entropy,
    Diverged, init_params, lesson_loss, linear1, mnist_loss, sigmoid, softmax, train_epoch, train_model,
    TunedOptim, validate_epoch,
)
from fastrecipes.training.fitting import fit_learner
from reporters import Seen

LN3 = math.log(3) # sigmoid(LN3) is 3/4


@pytest.fixture(autouse=True)
def seeded(): torch.manual_seed(0)


# Parameters and the linear model

def test_init_params_are_normal_leaves_of_the_given_spread():
    w = init_params((200, 100), std=.5)
    assert w.shape == (200, 100) and w.dtype == torch.float32 and w.requires_grad and w.is_leaf
    assert w.mean().item() == pytest.approx(0, abs=.02) and w.std().item() == pytest.approx(.5, rel=.02)
    assert init_params(3).shape == (3,)

def test_linear1_flattens_and_multiplies_by_hand():
    x = torch.tensor([[[1., 2], [3, 4]], [[0, 0], [0, 1]]])
    w, b = torch.tensor([[1., 0], [0, 1], [1, 0], [0, -1]]), torch.tensor([10., 20])
    assert linear1(x, w, b).tolist() == [[14, 18], [10, 19]]


# Losses

def test_sigmoid_is_its_formula():
    x = torch.linspace(-30, 30, 61, dtype=torch.float64)
    assert_close(sigmoid(x), 1 / (1 + torch.exp(-x)))

@pytest.mark.parametrize('x, value, grad', [(-1000., 0, 0), (1000., 1, 0), (0., .5, .25)])
def test_sigmoid_and_its_gradient_are_finite_far_out(x, value, grad):
    x = torch.tensor(x, requires_grad=True)
    y = sigmoid(x)
    y.backward()
    assert (y.item(), x.grad.item()) == (value, grad)

@pytest.mark.parametrize('reduction, wanted', [('none', [.5, .75, .75, .25]), ('mean', 2.25 / 4), ('sum', 2.25)])
def test_mnist_loss_is_the_distance_from_the_target_by_hand(reduction, wanted):
    loss = mnist_loss(torch.tensor([[0.], [LN3], [-LN3], [LN3]]), torch.tensor([1, 0, 1, 1]), reduction)
    assert_close(loss, torch.tensor(wanted))

@pytest.mark.parametrize('loss', [mnist_loss, cross_entropy])
def test_a_column_of_predictions_does_not_broadcast_against_a_row_of_targets(loss):
    predictions, targets = torch.randn(5, 1), torch.tensor([0, 1, 1, 0, 1])
    losses = loss(predictions, targets, 'none')
    assert losses.shape == (5,)
    assert_close(losses, torch.stack([loss(p[None], t[None]) for p, t in zip(predictions, targets)]))
    assert torch.equal(losses, loss(predictions, targets[:, None], 'none'))

@pytest.mark.parametrize('loss', [mnist_loss, cross_entropy])
@pytest.mark.parametrize('shape', [(3, 1), (5, 1), (1, 1)])
def test_predictions_and_targets_of_different_number_are_refused(loss, shape):
    with refused(f'({shape[0]}, 1)', '(4,)'): loss(torch.zeros(shape), torch.zeros(4).long())

@pytest.mark.parametrize('reduction', ['mean', 'sum', 'none'])
@pytest.mark.parametrize('scale', [1, 1e4, 1e30])
def test_cross_entropy_is_pytorchs_for_any_number_of_classes_and_huge_logits(reduction, scale):
    x, y = torch.randn(20, 10) * scale, torch.randint(0, 10, (20,))
    assert cross_entropy(x, y, reduction).isfinite().all()
    assert_close(cross_entropy(x, y, reduction), F.cross_entropy(x, y, reduction=reduction))

@pytest.mark.parametrize('reduction', ['mean', 'sum', 'none'])
@pytest.mark.parametrize('scale', [1, 1e4, 1e30])
def test_cross_entropy_of_one_column_is_pytorchs_binary_one(reduction, scale):
    x, y = torch.randn(20, 1) * scale, torch.randint(0, 2, (20,))
    assert cross_entropy(x, y, reduction).isfinite().all()
    wanted = F.binary_cross_entropy_with_logits(x.flatten(), y.float(), reduction=reduction)
    assert_close(cross_entropy(x, y, reduction), wanted)

@pytest.mark.parametrize('k', [1, 2, 10])
@pytest.mark.parametrize('scale', [1, 1e4])
def test_cross_entropy_has_pytorchs_gradient(k, scale):
    x, y = torch.randn(20, k) * scale, torch.randint(0, max(k, 2), (20,))
    a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
    cross_entropy(a, y).backward()
    (F.binary_cross_entropy_with_logits(b.flatten(), y.float()) if k == 1 else F.cross_entropy(b, y)).backward()
    assert a.grad.isfinite().all()
    assert_close(a.grad, b.grad)

def test_cross_entropy_of_two_columns_is_that_of_their_difference():
    x, y = torch.randn(20, 2), torch.randint(0, 2, (20,))
    assert_close(cross_entropy(x, y), cross_entropy(x[:, 1:] - x[:, :1], y))

def test_lesson_loss_is_mnist_loss_for_two_classes_only():
    assert [lesson_loss(n) for n in (2, 3, 10)] == [mnist_loss, cross_entropy, cross_entropy]


# What predictions mean

@pytest.mark.parametrize('scale', [1, 1e4, 1e38])
def test_softmax_is_pytorchs_with_rows_that_add_up_to_one(scale):
    x = torch.randn(20, 10).clamp(-3, 3) * scale
    assert_close(softmax(x), x.softmax(-1))
    assert_close(softmax(x).sum(-1), torch.ones(20))

def test_class_probs_by_hand():
    assert_close(class_probs(torch.tensor([[0.], [LN3], [-1000]])), torch.tensor([[.5, .5], [.25, .75], [1, 0]]))
    assert_close(class_probs(torch.tensor([[0., LN3], [1000, -1000]])), torch.tensor([[.25, .75], [1, 0]]))

@pytest.mark.parametrize('predictions, targets, wanted', [
    ([[2.], [-1], [.1], [-3]], [1, 1, 1, 0], .75), # above 0: the second class
    ([[0.], [0.], [0.]], [0, 0, 1], 2 / 3), # undecided: the first
    ([[1., 2, 0], [5, 1, 1], [0, 1, 2]], [1, 0, 0], 2 / 3),
])
def test_batch_accuracy_by_hand(predictions, targets, wanted):
    predictions, targets = torch.tensor(predictions), torch.tensor(targets)
    assert batch_accuracy(predictions, targets).item() == pytest.approx(wanted)
    assert (class_probs(predictions).argmax(-1) == targets).float().mean().item() == pytest.approx(wanted)


# Gradients and steps

def test_calc_grad_adds_to_the_gradient_and_gives_the_loss_without_a_graph():
    w = torch.tensor([2.], requires_grad=True)
    x = torch.tensor([1., 3])
    def run(): return calc_grad(x, None, lambda x: x * w, lambda p, y: p.mean())
    loss = run()
    assert (loss.item(), w.grad.item()) == (4, 2) and not loss.requires_grad
    run()
    assert w.grad.item() == 4

def test_basic_optim_steps_against_the_gradient_and_forgets_it():
    w, other = torch.tensor([1., 2], requires_grad=True), torch.tensor([5.], requires_grad=True)
    opt = BasicOptim([w, other], lr=.5)
    w.grad = torch.tensor([1., -2])
    opt.step()
    assert w.tolist() == [.5, 3] and other.tolist() == [5] and w.requires_grad and w.is_leaf
    opt.zero_grad()
    assert w.grad is None
    opt.step()
    assert w.tolist() == [.5, 3]

def test_basic_optim_takes_a_generator_of_parameters():
    model = nn.Linear(2, 1)
    opt = BasicOptim(model.parameters(), .1)
    for _ in range(2): # a spent generator would leave the second step without parameters
        before = model.weight.detach().clone()
        calc_grad(torch.ones(3, 2), torch.ones(3).long(), model, mnist_loss)
        opt.step()
        opt.zero_grad()
        assert not torch.equal(before, model.weight) and model.weight.grad is None

class _WithSpare(nn.Module):
    "A net, one parameter of which gets no gradient"
    def __init__(self, n_in, hidden, n_out):
        super().__init__()
        deep = nn.Sequential(nn.Linear(n_in, hidden), nn.ReLU(), nn.Linear(hidden, n_out)) if hidden else None
        self.net = deep or nn.Linear(n_in, n_out)
        self.spare = nn.Parameter(torch.randn(3))
    def forward(self, x): return self.net(x)

@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32), n_in=st.integers(1, 12), hidden=st.integers(0, 5), n_out=st.integers(1, 4),
    bs=st.integers(1, 9), steps=st.integers(1, 8), lr=st.floats(1e-6, 3),
)
def test_basic_optim_equals_torch_sgd_to_the_last_bit_at_every_step(seed, n_in, hidden, n_out, bs, steps, lr):
    gen = torch.Generator().manual_seed(seed)
    a, b = _WithSpare(n_in, hidden, n_out), _WithSpare(n_in, hidden, n_out)
    b.load_state_dict(a.state_dict())
    ours, theirs = BasicOptim(a.parameters(), lr), torch.optim.SGD(b.parameters(), lr)
    for _ in range(steps):
        xb, yb = torch.randn(bs, n_in, generator=gen), torch.randint(0, max(n_out, 2), (bs,), generator=gen)
        for model, opt in ((a, ours), (b, theirs)):
            calc_grad(xb, yb, model, cross_entropy)
            opt.step()
            opt.zero_grad()
        assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters()))
    assert a.spare.grad is None


# Weight decay, clipping and a schedule

def _steps(a, b, ours, theirs, before_theirs=lambda: None, steps=4, scale=1.):
    "The same gradients for both, and the largest difference after each step"
    for _ in range(steps):
        for p, q in zip(a, b):
            p.grad = torch.randn_like(p) * scale
            q.grad = p.grad.clone()
        ours.step()
        before_theirs()
        theirs.step()
        for p, q in zip(a, b): assert_close(p, q, rtol=1e-5, atol=1e-6)

def _params(*shapes):
    a = [torch.randn(s).requires_grad_() for s in shapes]
    return a, [p.detach().clone().requires_grad_() for p in a]

shapes = st.lists(st.lists(st.integers(1, 4), max_size=3).map(tuple), min_size=1, max_size=4)

@settings(max_examples=40, deadline=None, derandomize=True)
@given(shapes=shapes, lr=st.floats(1e-4, 1), wd=st.floats(0, 1))
def test_weight_decay_is_its_formula_and_torchs(shapes, lr, wd):
    a, b = _params(*shapes)
    old, grads = [p.detach().clone() for p in a], [torch.randn_like(p) for p in a]
    for p, g in zip(a, grads): p.grad = g.clone()
    TunedOptim(a, lr, wd).step()
    for p, o, g in zip(a, old, grads): assert_close(p, o - lr * wd * o - lr * g)
    a, b = _params(*shapes)
    _steps(a, b, TunedOptim(a, lr, wd), torch.optim.SGD(b, lr, weight_decay=wd))

@settings(max_examples=40, deadline=None, derandomize=True)
@given(shapes=shapes, clip=st.floats(1e-3, 10), scale=st.sampled_from([0., 1e-3, 1., 1e4]))
def test_clipping_is_torchs(shapes, clip, scale):
    a, b = _params(*shapes)
    def clip_theirs(): nn.utils.clip_grad_norm_(b, clip)
    _steps(a, b, TunedOptim(a, .1, clip=clip), torch.optim.SGD(b, .1), clip_theirs, scale=scale)

def test_the_gradient_is_clipped_as_one_vector_and_a_short_one_is_left_alone():
    a, b = torch.zeros(1, requires_grad=True), torch.zeros(1, requires_grad=True)
    opt = TunedOptim([a, b], 1., clip=1.)
    a.grad, b.grad = torch.tensor([3.]), torch.tensor([4.])
    opt.step()
    assert (a.item(), b.item()) == (pytest.approx(-.6, rel=1e-5), pytest.approx(-.8, rel=1e-5))
    a.grad, b.grad = torch.tensor([.3]), torch.tensor([.4])
    opt.step()
    assert (a.item(), b.item()) == (pytest.approx(-.9, rel=1e-5), pytest.approx(-1.2, rel=1e-5))

def test_clipping_changes_the_length_of_the_gradient_and_decay_is_not_clipped():
    w = torch.tensor([100.], requires_grad=True)
    w.grad = torch.tensor([1000.])
    TunedOptim([w], .1, wd=.5, clip=1.).step()
    assert w.item() == pytest.approx(100 - .1 * .5 * 100 - .1)

@pytest.mark.parametrize('opt', [TunedOptim, basic_opt])
def test_a_parameter_without_a_gradient_does_not_decay_either(opt):
    frozen, w = torch.ones(2), torch.ones(2, requires_grad=True)
    w.grad = torch.zeros(2)
    opt([frozen, w], lr=.1, wd=.5).step()
    assert frozen.tolist() == [1, 1] and w.tolist() == pytest.approx([.95, .95])

def test_the_schedule_is_asked_before_each_step_for_the_share_that_is_done():
    w, seen = torch.zeros(1, requires_grad=True), []
    opt = TunedOptim([w], 9., schedule=lambda share: seen.append(share) or share + 1, steps=4)
    for _ in range(4):
        w.grad = torch.ones(1)
        opt.step()
    assert seen == [0, .25, .5, .75] and w.item() == -(1 + 1.25 + 1.5 + 1.75) and opt.done == 4

def test_without_any_of_them_it_is_basic_optim_to_the_last_bit():
    a, b = _params((3, 4), (4,))
    for p, q in zip(a, b):
        p.grad = torch.randn_like(p)
        q.grad = p.grad.clone()
    TunedOptim(a, .3).step()
    BasicOptim(b, .3).step()
    assert all(torch.equal(p, q) for p, q in zip(a, b))


# Epochs

BATCHES = [
    (torch.tensor([2., 4]), torch.tensor([1, 0])),
    (torch.tensor([6.]), torch.tensor([1])), # The last one is smaller
]

def test_train_epoch_weighs_losses_by_batch_size_and_steps_after_each_batch():
    w = torch.tensor([1.], requires_grad=True)
    loss = train_epoch(lambda x: x * w, BATCHES, BasicOptim([w], .1), lambda p, y: p.mean())
    # Batch 1: loss 3, gradient 3, w = 1 - .3. Batch 2: loss .7 * 6 = 4.2, gradient 6, w = .7 - .6
    assert loss == pytest.approx((3 * 2 + 4.2) / 3)
    assert w.item() == pytest.approx(.1) and w.grad is None

def test_validate_epoch_weighs_loss_and_metric_by_batch_size():
    def below_three(p, y): return (p < 3).float().mean()
    loss, metric = validate_epoch(lambda x: x, BATCHES, lambda p, y: p.mean(), below_three)
    assert (loss, metric) == (pytest.approx((3 * 2 + 6) / 3), pytest.approx(1 / 3))

def test_without_batches_the_means_are_nan():
    means = train_epoch(lambda x: x, [], BasicOptim([], 1.)), *validate_epoch(lambda x: x, [])
    assert all(map(math.isnan, means))

def _dropped(): return nn.Sequential(nn.Dropout(.5), nn.Linear(4, 1))

@pytest.mark.parametrize('training', [True, False])
def test_validate_epoch_turns_dropout_off_and_leaves_mode_and_gradients(training):
    model, dl = _dropped().train(training), [(torch.randn(6, 4), torch.randint(0, 2, (6,))) for _ in range(2)]
    calc_grad(*dl[0], model, mnist_loss)
    before = [p.grad.clone() for p in model.parameters()]
    loss, accuracy = validate_epoch(model, dl)
    assert model.training is model[0].training is training
    assert all(torch.equal(p.grad, g) for p, g in zip(model.parameters(), before))
    preds = [model[1](x) for x, _ in dl]
    assert loss == pytest.approx(sum(mnist_loss(p, y).item() for p, (_, y) in zip(preds, dl)) / 2)
    assert accuracy == pytest.approx(sum(batch_accuracy(p, y).item() for p, (_, y) in zip(preds, dl)) / 2)

def test_validate_epoch_keeps_no_graph():
    model, seen = nn.Linear(4, 1), []
    def metric(p, y):
        seen.append(p)
        return torch.tensor(1.)
    validate_epoch(model, [(torch.randn(2, 4), torch.tensor([0, 1]))], metric=metric)
    assert [p.requires_grad for p in seen] == [False] and torch.is_grad_enabled()

def test_validate_epoch_gives_the_module_back_as_it_was_when_the_metric_fails():
    model = _dropped()
    dl = [(torch.randn(2, 4), torch.tensor([0, 1]))]
    with pytest.raises(ZeroDivisionError): validate_epoch(model, dl, metric=lambda p, y: 1 / 0)
    assert model.training

def test_validate_epoch_leaves_a_frozen_layer_in_evaluation_mode():
    model = nn.Sequential(nn.BatchNorm1d(4).eval(), nn.Linear(4, 1))
    validate_epoch(model, [(torch.randn(2, 4), torch.tensor([0, 1]))])
    assert [m.training for m in model] == [False, True]

class Rows:
    "A hook that keeps what it is told, and stops after the epoch `last`"
    def __init__(self, last=None):
        self.rows = []
        self.last = last
    def after_epoch(self, model, row): self.rows.append(row)
    @property
    def stop(self): return bool(self.rows) and self.rows[-1]['epoch'] == self.last

def test_train_model_gives_a_row_per_epoch_and_calls_its_hooks():
    model, x, y = nn.Linear(4, 1), torch.randn(10, 4), torch.randint(0, 2, (10,))
    dl, seen = list(zip(x.split(4), y.split(4))), Rows()
    frame = train_model(model, dl, dl, BasicOptim(model.parameters(), 1.), 3, hooks=[seen])
    assert list(frame) == ['epoch', 'train_loss', 'valid_loss', 'accuracy', 'seconds']
    assert frame.epoch.tolist() == [0, 1, 2]
    assert seen.rows == frame.to_dict('records')
    last, preds = frame.iloc[-1], model(x)
    assert last.valid_loss == pytest.approx(mnist_loss(preds, y).item())
    assert last.accuracy == pytest.approx(batch_accuracy(preds, y).item())

def _line():
    torch.manual_seed(0)
    x = torch.randn(10, 4)
    return nn.Linear(4, 1), list(zip(x.split(4), torch.randint(0, 2, (10,)).split(4)))

def test_train_model_stops_where_a_hook_says_so():
    model, dl = _line()
    frame = train_model(model, dl, dl, BasicOptim(model.parameters(), .5), 9, hooks=[Rows(), Rows(last=3)])
    assert frame.epoch.tolist() == [0, 1, 2, 3]
    assert len(train_model(model, dl, dl, BasicOptim(model.parameters(), .5), 3, hooks=[Rows()])) == 3

def test_train_model_continues_from_rows_as_if_it_had_not_been_interrupted():
    (whole, dl), (pieces, _), seen = _line(), _line(), Rows()
    wanted = train_model(whole, dl, dl, BasicOptim(whole.parameters(), .5), 5)
    rows = train_model(pieces, dl, dl, BasicOptim(pieces.parameters(), .5), 2).to_dict('records')
    got = train_model(pieces, dl, dl, BasicOptim(pieces.parameters(), .5), 5, hooks=[seen], rows=rows)
    assert [row['epoch'] for row in seen.rows] == [2, 3, 4] and len(rows) == 2
    assert torch.equal(whole.weight, pieces.weight)
    assert got.drop(columns='seconds').equals(wanted.drop(columns='seconds'))

@pytest.mark.parametrize('epochs', [2, 1, 0])
def test_train_model_trains_no_more_where_the_rows_are_enough(epochs):
    model, dl = _line()
    rows = train_model(model, dl, dl, BasicOptim(model.parameters(), .5), 2).to_dict('records')
    before = model.weight.detach().clone()
    frame = train_model(model, dl, dl, BasicOptim(model.parameters(), .5), epochs, rows=iter(rows))
    assert frame.to_dict('records') == rows
    assert torch.equal(before, model.weight)

def test_train_model_finds_a_line_that_separates():
    x = torch.rand(200, 2) * 2 - 1
    y = (x[:, 0] > x[:, 1]).long()
    model, dl = nn.Linear(2, 1), list(zip(x.split(32), y.split(32)))
    frame = train_model(model, dl, dl, BasicOptim(model.parameters(), 1.), 30)
    assert frame.accuracy.iloc[-1] > .92 and frame.train_loss.iloc[-1] < frame.train_loss.iloc[0] / 2


# The same through fastai

def _learner(images, opt_func=basic_opt, seed=0, start=None):
    "A linear `Learner` on batches whose order depends on `seed` alone, with the weights and bias of `start`"
    random.seed(seed)
    dls = dataloaders(images, 64, 'cpu')
    model = linear(math.prod(images.shape), n_outputs(len(images.classes)))
    if start is not None:
        with torch.no_grad():
            model[1].weight.copy_(start[0].T)
            model[1].bias.copy_(start[1])
    loss_func = ClassLoss(lesson_loss(len(images.classes)))
    return Learner(dls, model, loss_func=loss_func, opt_func=opt_func, metrics=batch_accuracy)

@pytest.fixture(params=['threes_sevens', 'digits'])
def images(request): return request.getfixturevalue(request.param)

def test_the_hand_loop_and_learner_end_in_the_same_weights_with_the_same_history(images):
    n_in, n_out, lr, epochs = math.prod(images.shape), n_outputs(len(images.classes)), .5, 4
    weights, bias = init_params((n_in, n_out), .01), init_params(n_out, .01)
    start = weights.detach().clone(), bias.detach().clone()
    learn = _learner(images, start=start)
    theirs = fit_learner(learn, epochs, lr).history
    random.seed(0)
    dls = dataloaders(images, 64, 'cpu')
    model = partial(linear1, weights=weights, bias=bias)
    loss_func = lesson_loss(len(images.classes))
    ours = train_model(model, dls.train, dls.valid, BasicOptim([weights, bias], lr), epochs, loss_func)
    close = partial(torch.allclose, rtol=1e-4, atol=1e-6)
    assert close(weights, learn.model[1].weight.T) and close(bias, learn.model[1].bias)
    assert (weights - start[0]).abs().max() > .1
    numbers = ['train_loss', 'valid_loss', 'accuracy']
    assert_close(torch.tensor(ours[numbers].values), torch.tensor(theirs[numbers].values), rtol=1e-4, atol=1e-6)
    other = _learner(images, seed=1, start=start) # Another order of the images makes a difference
    fit_learner(other, epochs, lr)
    assert not close(weights, other.model[1].weight.T)

def test_basic_opt_equals_fastais_wrapper_over_torch_sgd_to_the_last_bit(images):
    n_out = n_outputs(len(images.classes))
    start = [init_params(s).detach() for s in ((math.prod(images.shape), n_out), n_out)]
    ours = _learner(images, basic_opt, start=start)
    theirs = _learner(images, partial(OptimWrapper, opt=torch.optim.SGD), start=start)
    histories = [fit_learner(learn, 3, .3).history.drop(columns='seconds') for learn in (ours, theirs)]
    assert all(torch.equal(p, q) for p, q in zip(ours.model.parameters(), theirs.model.parameters(), strict=True))
    assert histories[0].equals(histories[1])
    assert not torch.equal(ours.model[1].weight, start[0].T)

def test_basic_opt_takes_a_learning_rate_for_each_group():
    w, b = (torch.ones(1, requires_grad=True) for _ in range(2))
    opt = basic_opt([[w], [b]], lr=.1)
    opt.set_hyper('lr', [.1, .5])
    w.grad, b.grad = torch.ones(1), torch.ones(1)
    opt.step()
    assert (w.item(), b.item()) == (pytest.approx(.9), pytest.approx(.5))

def test_basic_opt_decays_as_told_and_as_fit_tells_it():
    w, b = (torch.ones(1, requires_grad=True) for _ in range(2))
    opt = basic_opt([[w], [b]], lr=.1, wd=.5)
    assert [h['wd'] for h in opt.hypers] == [.5, .5]
    opt.set_hyper('wd', [.5, 0.])
    w.grad, b.grad = torch.ones(1), torch.ones(1)
    opt.step()
    assert (w.item(), b.item()) == (pytest.approx(1 - .1 * .5 - .1), pytest.approx(.9))

@pytest.mark.parametrize('name', ['mom', 'eps', 'sqr_mom'])
def test_basic_opt_refuses_what_it_lacks(name):
    w = torch.ones(1, requires_grad=True)
    with refused(repr(name)): basic_opt([w], lr=.1, **{name: .9})
    basic_opt([w], lr=.1, **{name: 0})

def test_class_loss_reduces_activates_and_decodes():
    predictions, targets, loss = torch.tensor([[LN3], [-LN3]]), torch.tensor([1, 1]), ClassLoss(mnist_loss)
    assert_close(loss(predictions, targets), torch.tensor(.5))
    loss.reduction = 'none'
    assert_close(loss(predictions, targets), torch.tensor([.25, .75]))
    assert_close(loss.activation(predictions), torch.tensor([[.25, .75], [.75, .25]]))
    assert loss.decodes(loss.activation(predictions)).tolist() == [1, 0]
    assert repr(loss) == 'ClassLoss(mnist_loss)'

def test_get_preds_gives_probabilities_classes_and_the_loss_of_each_image(images):
    learn, loss = _learner(images), lesson_loss(len(images.classes))
    fit_learner(learn, 2, .5)
    with learn.no_bar(): probs, targets, decoded, losses = learn.get_preds(with_loss=True, with_decoded=True)
    with torch.no_grad(): logits = learn.model(to_floats(images.valid.images))
    assert torch.equal(targets, images.valid.labels)
    assert probs.shape == (len(targets), len(images.classes))
    assert_close(probs, class_probs(logits))
    assert torch.equal(decoded, probs.argmax(1))
    assert_close(losses, loss(logits, targets, 'none'))
    assert (decoded == targets).float().mean() > .8 and learn.loss_func.reduction == 'mean'


# Real data

# bench/accuracy.py holds the last two to 0.978 and 0.981, which they reach with no image to spare under one of the five
# seeds; here another machine's rounding may cost two of the 2,038 images.
@pytest.mark.parametrize('seed', [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 5))])
@pytest.mark.parametrize('name, epochs, lr, least', [
    ('sgd', 20, 1, .965), ('linear', 10, 1, .977), ('simple_net', 40, .1, .98),
])
def test_accuracy_on_mnist_sample(mnist_sample, name, epochs, lr, least, seed):
    assert fit(name, mnist_sample, epochs=epochs, lr=lr, bs=256, seed=seed, device='cpu').accuracy >= least


# When the loss is lost

@pytest.mark.parametrize('name, lr', [
    ('sgd', 1e37), ('linear', 1e37), ('mlp', 1e30), ('simple_net', 1e37), ('logistic', 1e37),
])
def test_every_way_of_training_says_in_which_epoch_the_loss_was_lost(digits, name, lr):
    heard = Seen()
    with pytest.raises(Diverged, match=rf'^{name}: .* (not a number|infinite) .*; .*learning rate') as e:
        fit(name, digits, device='cpu', lr=lr, epochs=30, reporter=heard)
    by_hand = name in ('sgd', 'logistic') # The loop stops before it reports the epoch
    assert f'in epoch {len(heard.rows) + by_hand};' in str(e.value)

def test_a_finite_history_is_left_alone_and_kinds_are_told_apart():
    check_losses(0, training=0., validation=1e300)
    assert issubclass(Diverged, InputError)
    for value, what in ((math.nan, 'not a number'), (math.inf, 'infinite'), (-math.inf, 'infinite')):
        with pytest.raises(Diverged, match=f'validation.* {what} .*8.*lr'):
            check_losses(7, training=1., validation=value)
