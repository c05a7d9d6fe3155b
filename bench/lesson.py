"""The lesson's way, which the benches compare with: what a reader of fast.ai lesson 3 and chapter 4 would write

In fp32, with default optimisers. Nothing here uses fastrecipes."""
from pathlib import Path
import torch
import torch.nn.functional as F
from fastai.vision.all import (
    DataLoader, DataLoaders, ImageDataLoaders, Learner, SGD, accuracy, nn, resnet18, tensor, untar_data, URLs,
    vision_learner,
)
from PIL import Image


def folder(): return untar_data(URLs.MNIST_SAMPLE)


def stacked(path):
    "One float tensor (n, 28, 28) from a folder of PNGs"
    return torch.stack([tensor(Image.open(f)) for f in sorted(path.iterdir())]).float()/255


def tensors(path:Path):
    "Training and validation images, flattened, with targets (n, 1): 1 for a three"
    out = []
    for split in ('train', 'valid'):
        threes, sevens = stacked(path/split/'3'), stacked(path/split/'7')
        out += [torch.cat([threes, sevens]).view(-1, 28*28), tensor([1]*len(threes) + [0]*len(sevens)).unsqueeze(1)]
    return out


def pair_loaders(train_x, train_y, valid_x, valid_y, bs=256):
    "A list of pairs in a `DataLoader`, for training and for validation"
    train_dl = DataLoader(list(zip(train_x, train_y)), batch_size=bs, shuffle=True)
    valid_dl = DataLoader(list(zip(valid_x, valid_y)), batch_size=bs)
    return train_dl, valid_dl


def mnist_loss(predictions, targets):
    predictions = predictions.sigmoid()
    return torch.where(targets==1, 1-predictions, predictions).mean()


def batch_accuracy(xb, yb):
    preds = xb.sigmoid()
    correct = (preds>0.5) == yb
    return correct.float().mean()


def init_params(size, std=1.0): return (torch.randn(size)*std).requires_grad_()


class Linear:
    "The linear model of the hand-written loop"
    def __init__(self): self.params = self.weights, self.bias = init_params((28*28, 1)), init_params(1)
    def __call__(self, xb): return xb@self.weights + self.bias


def train_epoch(model, dl, lr, params):
    for xb, yb in dl:
        loss = mnist_loss(model(xb), yb)
        loss.backward()
        for p in params:
            p.data -= p.grad*lr
            p.grad.zero_()


def validate_epoch(model, dl):
    accs = [batch_accuracy(model(xb), yb) for xb, yb in dl]
    return round(torch.stack(accs).mean().item(), 4)


def linear_learner(train_dl, valid_dl):
    return Learner(DataLoaders(train_dl, valid_dl), nn.Linear(28*28, 1), opt_func=SGD, loss_func=mnist_loss,
                   metrics=batch_accuracy)


def simple_net_learner(train_dl, valid_dl):
    net = nn.Sequential(nn.Linear(28*28, 30), nn.ReLU(), nn.Linear(30, 1))
    return Learner(DataLoaders(train_dl, valid_dl), net, opt_func=SGD, loss_func=mnist_loss, metrics=batch_accuracy)


def resnet_learner(path):
    dls = ImageDataLoaders.from_folder(path)
    return vision_learner(dls, resnet18, pretrained=False, loss_func=F.cross_entropy, metrics=accuracy)


def similarity(train_x, train_y, valid_x, valid_y):
    "Accuracy of the nearest average image, by mean absolute difference"
    mean3, mean7 = train_x[train_y[:, 0]==1].mean(0), train_x[train_y[:, 0]==0].mean(0)
    is_3 = (valid_x-mean3).abs().mean(-1) < (valid_x-mean7).abs().mean(-1)
    return (is_3 == valid_y[:, 0].bool()).float().mean().item()


def ladder(path):
    "All of chapter 4, one rung after the other: accuracy by rung"
    data = tensors(path)
    dls = pair_loaders(*data)
    found = dict(similarity=similarity(*data))
    model = Linear()
    for _ in range(20):
        train_epoch(model, dls[0], 1., model.params)
        found['sgd'] = validate_epoch(model, dls[1])
    learners = ('linear', linear_learner(*dls), 20, 1.), ('simple_net', simple_net_learner(*dls), 40, .1)
    for name, learn, epochs, lr in learners:
        with learn.no_bar(), learn.no_logging(): learn.fit(epochs, lr=lr)
        found[name] = learn.recorder.values[-1][-1]
    learn = resnet_learner(path)
    with learn.no_bar(), learn.no_logging(): learn.fit_one_cycle(1, .1)
    return found | dict(resnet18=learn.recorder.values[-1][-1])


if __name__ == '__main__': print(ladder(folder()))
