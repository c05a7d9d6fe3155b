"Class activation maps: where they lie, which rungs have them, and how the page shows them"
import re
from base64 import b64decode
from dataclasses import replace
from io import BytesIO
import pytest, torch
from PIL import Image
from torch import nn
from fastrecipes.answer.climb import compare
from fastrecipes.answer.comparison import read_comparison
from fastrecipes.answer.maps import activation_maps, overlay, worst_maps
from fastrecipes.answer.pictures import picture_of
from fastrecipes.answer.records import WorstImage
from fastrecipes.answer.report import report_html
from fastrecipes.ladder.pretrained import missing_weights
from fastrecipes.ladder.recipe import fit

SHORT = dict(epochs=1, device='cpu')


def spot_net(columns=2):
    "Its score is the brightness of the image, weighted with 1 for the last class and -1 for the others"
    conv = nn.Conv2d(1, 1, 1, bias=False)
    head = nn.Linear(1, columns, bias=False)
    with torch.no_grad():
        conv.weight.fill_(1.)
        head.weight.copy_(torch.tensor([[-1.]] * (columns - 1) + [[1.]]))
    return nn.Sequential(conv, nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten(), head).eval()

def spot(down, across, side=5):
    x = torch.zeros(1, 1, side, side)
    x[..., down, across] = 1
    return x


@pytest.mark.parametrize('columns, of', [(1, 1), (2, 1), (3, 2)])
@pytest.mark.parametrize('place', [(0, 0), (2, 3), (4, 1)])
def test_the_map_is_bright_where_the_score_comes_from(columns, of, place):
    heat = activation_maps(spot_net(columns), spot(*place), torch.tensor([of]))
    assert torch.equal(heat, spot(*place)[0])

def test_a_linear_layer_with_a_weight_for_each_place_is_read_by_place():
    model = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.Flatten(), nn.Linear(25, 2, bias=False)).eval()
    nn.init.ones_(model[0].weight)
    weights = 2 * spot(3, 0).flatten() - spot(1, 2).flatten()
    with torch.no_grad(): model[2].weight.copy_(torch.stack([torch.zeros(25), weights]))
    heat = activation_maps(model, torch.full((1, 1, 5, 5), .5), torch.tensor([1]))
    assert torch.equal(heat, spot(3, 0)[0])

def test_what_speaks_against_the_class_is_dark():
    assert activation_maps(spot_net(), spot(1, 1), torch.tensor([0])).max() == 0

def test_each_image_is_explained_for_its_own_class():
    heat = activation_maps(spot_net(), torch.cat([spot(1, 1), spot(3, 3)]), torch.tensor([0, 1]))
    assert heat[0].max() == 0 and heat[1, 3, 3] == 1

def test_a_large_map_is_reduced():
    assert activation_maps(spot_net(), spot(20, 20, side=40), torch.tensor([1])).shape == (1, 14, 14)

def test_a_layer_that_is_called_twice_counts_by_its_last_call():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.relu = nn.Conv2d(1, 1, 1, bias=False), nn.ReLU(inplace=True)
            nn.init.ones_(self.conv.weight)
        def forward(self, x): return self.relu(self.relu(self.conv(x)) - .5)
    model = nn.Sequential(Twice(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, 2)).eval()
    nn.init.constant_(model[-1].weight, 1.)
    x = spot(2, 2)
    assert activation_maps(model, x, torch.tensor([0]))[0, 2, 2] == 1

@pytest.mark.parametrize('model', [
    nn.Sequential(nn.Flatten(), nn.Linear(25, 2)), nn.Sequential(nn.Conv2d(1, 4, 4), nn.Flatten(), nn.Linear(16, 2)),
])
def test_without_a_map_of_three_places_there_is_none(model):
    assert activation_maps(model, torch.rand(1, 1, 5, 5), torch.tensor([0])) is None

def test_the_model_is_left_as_it_was(digits):
    f = fit('convnet', digits, **SHORT)
    before = {n: t.clone() for n, t in f.model.state_dict().items()}
    f.model.train()
    state = torch.get_rng_state()
    assert 1 <= len(worst_maps(f)) <= 6
    assert f.model.training and all(p.grad is None or not p.grad.isnan().any() for p in f.model.parameters())
    assert all(torch.equal(before[n], t) for n, t in f.model.state_dict().items())
    assert torch.equal(state, torch.get_rng_state()) and not any(m._forward_hooks for m in f.model.modules())

@pytest.mark.parametrize('name, least', [('linear', 0), ('similarity', 0), ('resnet18', 3)])
def test_rungs_with_convolutions_have_maps(threes_sevens, name, least):
    settings = {} if name == 'similarity' else dict(epochs=1)
    maps = worst_maps(fit(name, threes_sevens, device='cpu', **settings))
    assert bool(maps) is bool(least)
    for grid in maps.values():
        assert len(grid) >= least and {len(row) for row in grid} == {len(grid)} and max(map(max, grid)) == 255

def test_frozen_and_fine_tuned_nets_have_maps(threes_sevens):
    if missing_weights(): pytest.skip(missing_weights())
    few = threes_sevens.train.take(torch.arange(0, len(threes_sevens.train), 5))
    for name, more in (('frozen', {}), ('finetune', dict(epochs=1))):
        assert worst_maps(fit(name, replace(threes_sevens, train=few), device='cpu', side=64, **more))

def test_the_file_and_the_page_have_them(digits, tmp_path):
    how = dict(device='cpu', settings=dict(linear=dict(epochs=1), convnet=dict(epochs=1)))
    c = compare(digits, 'linear,convnet', out=tmp_path, **how)
    of = {r.recipe: [w.activation for w in r.failures.worst] for r in c.rungs}
    lit = [bool(a) for a in of['convnet']]
    assert not any(of['linear']) and any(lit[:6]) and not any(lit[6:])
    again = compare(digits, 'linear,convnet', **how)
    assert [w.activation for w in again.rungs[1].failures.worst] == of['convnet'], 'each time the same'
    c.save(tmp_path)
    page = report_html(read_comparison(tmp_path))
    shown = re.findall('data:image/jpeg;base64,([A-Za-z0-9+/=]+)', page)
    assert len(shown) == sum(lit) and max(map(len, shown)) < 10_000
    for each in shown: Image.open(BytesIO(b64decode(each))).verify()
    assert page == report_html(read_comparison(tmp_path))

def test_an_overlay_is_brightest_where_the_map_is():
    uri = overlay(picture_of(torch.full((1, 8, 8), 128, dtype=torch.uint8)), [[0, 0, 0], [0, 0, 0], [0, 0, 255]])
    pixels = Image.open(BytesIO(b64decode(uri.split(',')[1]))).convert('L')
    width, height = pixels.size
    assert pixels.getpixel((width - 4, height - 4)) > 2 * pixels.getpixel((4, 4))

@pytest.mark.parametrize('grid', [[[0, 256]], [[0], [0, 1]], [], [[]], [[0] * 65]])
def test_a_damaged_map_is_refused(grid):
    values = dict(image=0, true='a', predicted='b', probability=.5, loss=1.)
    assert WorstImage.model_validate(values | dict(activation=[[0, 255]]), strict=False)
    with pytest.raises(ValueError, match='activation'):
        WorstImage.model_validate(values | dict(activation=grid), strict=False)
