"Other nets as the body of frozen and finetune: torchvision's and timm's, with weights that are on this machine"
import hashlib, socket
from functools import lru_cache
import pytest, torch
from safetensors.torch import save_file
from torchvision.models import resnet18
from fastrecipes.keep.export import export_onnx
from fastrecipes.keep.store import load, save
from fastrecipes.ladder.backbones import groups_of, load_backbone, model_on
from fastrecipes.ladder.recipe import fit, get_recipe
from conftest import refused
from made import noise_images

RESNET = 'torchvision:resnet18'
QUICK = dict(frozen=dict(side=64, wd=.1), finetune=dict(side=64, epochs=2, bs=8, best=False))


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    "Nothing may be downloaded"
    def no(*args, **kwargs): pytest.fail('the network was used')
    monkeypatch.setattr(socket.socket, 'connect', no)
    monkeypatch.setattr(socket, 'create_connection', no)

@pytest.fixture
def hub(tmp_path, monkeypatch):
    "An empty folder of torch.hub"
    monkeypatch.setenv('TORCH_HOME', str(tmp_path/'torch'))
    (tmp_path/'torch'/'hub'/'checkpoints').mkdir(parents=True)
    return tmp_path/'torch'/'hub'/'checkpoints'

@lru_cache(None)
def tensors():
    torch.manual_seed(0)
    return resnet18().state_dict()

@pytest.fixture(scope='module')
def file(tmp_path_factory):
    "Weights as PyTorch saves them"
    path = tmp_path_factory.mktemp('weights')/'mine.pth'
    torch.save(tensors(), path)
    return path

@lru_cache(None)
def fitted(name, file):
    "A recipe fitted quickly to noise, on the weights in the file"
    how = dict(backbone=RESNET, weights=str(file)) | QUICK[name]
    return fit(name, noise_images(24, 'abc'), device='cpu', **how)


# The model

@pytest.mark.parametrize('name, features, size', [
    ('resnet18', 512, (64, 64)), ('mobilenet_v3_small', 1024, (64, 64)), ('vit_b_16', 768, (224, 224)),
])
def test_a_net_of_torchvision_becomes_a_body(name, features, size):
    with torch.device('meta'): model = model_on(f'torchvision:{name}', (1, 28, 28), 3, 64)
    assert model[1][-1].in_features == features and model[0][0].size == size
    groups = groups_of(f'torchvision:{name}')(model)
    assert len(groups) == 3 and sum(map(len, groups)) == len(list(model.parameters()))

def test_the_features_are_those_of_the_net(file):
    model = model_on(RESNET, (3, 64, 64), 3, 64)
    load_backbone(model, RESNET, str(file))
    net = resnet18()
    net.load_state_dict(tensors())
    net.fc = torch.nn.Identity()
    x = torch.rand(2, 3, 64, 64)
    scaled = (x - torch.tensor([.485, .456, .406]).view(3, 1, 1)) / torch.tensor([.229, .224, .225]).view(3, 1, 1)
    with torch.no_grad():
        torch.testing.assert_close(model.eval()[0](x).flatten(1), net.eval()(scaled), atol=1e-4, rtol=1e-4)

@pytest.mark.parametrize('backbone', ['resnet18', 'torchvision:', 'other:resnet18', 'torchvision:a b', ''])
def test_what_is_no_backbone_is_refused_before_anything_is_imported(backbone):
    with refused('backbone', 'torchvision:NAME'): get_recipe('frozen').resolve(dict(backbone=backbone))

@pytest.mark.parametrize('backbone, parts', [
    ('torchvision:resnet81', ('resnet81', "'resnet18'")), ('torchvision:squeezenet1_0', ('squeezenet1_0', 'resnet18')),
])
def test_an_unknown_net_is_one_line(backbone, parts):
    with refused(*parts): fit('frozen', noise_images(8), device='cpu', backbone=backbone)

def test_without_timm_the_line_says_how_to_get_it(monkeypatch):
    import sys
    monkeypatch.setitem(sys.modules, 'timm', None)
    with refused('timm', "pip install 'fastrecipes[timm]'"):
        fit('frozen', noise_images(8), device='cpu', backbone='timm:resnet18')


# The weights

def test_without_weights_there_is_one_line_and_no_download(hub):
    for name in ('frozen', 'finetune'):
        with refused('not on this machine', 'weights=FILE', 'resnet18'):
            fit(name, noise_images(8), device='cpu', backbone=RESNET)
    assert not list(hub.iterdir())

def test_what_torchvision_has_downloaded_is_found_and_its_digest_is_checked(hub, monkeypatch, tmp_path):
    from torchvision.models import ResNet18_Weights
    path = hub/ResNet18_Weights.DEFAULT.url.rpartition('/')[2]
    torch.save(tensors(), path)
    model = model_on(RESNET, (1, 8, 8), 3, 64)
    with refused(path, 'SHA-256'): load_backbone(model, RESNET)
    real = hashlib.sha256
    class Right:
        def __init__(self, data): self.data = data
        def hexdigest(self): return path.stem.rpartition('-')[2] + real(self.data).hexdigest()[8:]
    monkeypatch.setattr('fastrecipes.ladder.backbones.hashlib.sha256', Right)
    load_backbone(model, RESNET)
    assert torch.equal(model[0][1].net.conv1.weight, tensors()['conv1.weight'])

@pytest.mark.parametrize('form', ['safetensors', 'state_dict', 'model', 'module.'])
def test_weights_come_as_safetensors_and_as_training_scripts_write_them(tmp_path, form):
    path = tmp_path/('w.safetensors' if form == 'safetensors' else 'w.pth')
    if form == 'safetensors': save_file(tensors(), path)
    elif form == 'module.': torch.save({f'module.{n}': t for n, t in tensors().items()}, path)
    else: torch.save({form: tensors(), 'epoch': 3}, path)
    model = model_on(RESNET, (1, 8, 8), 3, 64)
    load_backbone(model, RESNET, str(path))
    assert torch.equal(model[0][1].net.layer4[1].bn2.running_var, tensors()['layer4.1.bn2.running_var'])

class Evil:
    def __reduce__(self): return pytest.fail, ('code in a file of weights was run',)

@pytest.mark.parametrize('content', [b'no weights', 'code', 'other', 'list', None])
def test_a_file_that_is_not_its_weights_is_refused(tmp_path, content):
    path = tmp_path/'w.pth'
    if content == 'code': torch.save(Evil(), path)
    elif content == 'other': torch.save({n: t for n, t in tensors().items() if n != 'conv1.weight'}, path)
    elif content == 'list': torch.save([1, 2], path)
    elif content: path.write_bytes(content)
    with refused(path): load_backbone(model_on(RESNET, (1, 8, 8), 3, 64), RESNET, str(path))

def test_weights_without_their_backbone_are_refused(file):
    with refused('weights=', 'backbone='): fit('frozen', noise_images(8), device='cpu', weights=str(file))


# The recipes

@pytest.mark.parametrize('name', ['frozen', 'finetune'])
def test_a_kept_model_names_its_backbone_and_needs_no_file(tmp_path, name, file):
    f = fitted(name, file)
    kept = load(save(f, tmp_path/'m'), 'cpu')
    assert torch.equal(kept.predict_scores(f.images.valid.images), f.scores)
    assert kept.settings['backbone'] == RESNET and kept.settings['weights'] == 'mine.pth'
    assert kept.parameters == (512 * 3 + 3 if name == 'frozen' else f.parameters) and f.parameters == kept.parameters
    learn = kept.learner(f.images)
    with learn.no_bar(), learn.no_logging(): learn.fit(1, .001)

def test_frozen_does_not_change_the_body_and_finetune_does(file):
    before = tensors()['conv1.weight']
    assert torch.equal(fitted('frozen', file).model[0][1].net.conv1.weight, before)
    assert not torch.equal(fitted('finetune', file).model[0][1].net.conv1.weight, before)

@pytest.mark.slow
def test_it_can_be_exported(tmp_path, file): assert export_onnx(fitted('frozen', file), tmp_path/'m.onnx') < 1e-3

def test_a_variant_may_have_another_backbone():
    found = get_recipe("frozen(backbone=torchvision:resnet18, weights='/a b/c.pth')")
    assert found.name == "frozen(backbone=torchvision:resnet18, weights='/a b/c.pth')"
    assert found.resolve({})['weights'] == '/a b/c.pth'

def test_a_net_of_timm_becomes_a_body(tmp_path, monkeypatch):
    timm = pytest.importorskip('timm')
    monkeypatch.setenv('HF_HUB_OFFLINE', '1')
    with torch.device('meta'): model = model_on('timm:vit_tiny_patch16_224', (1, 28, 28), 3, 64)
    assert model[0][0].size == (224, 224) and model[1][-1].in_features == 192
    path = tmp_path/'w.pth'
    torch.save(timm.create_model('resnet18', pretrained=False).state_dict(), path)
    how = dict(backbone='timm:resnet18', weights=str(path)) | QUICK['frozen']
    f = fit('frozen', noise_images(24, 'abc'), device='cpu', **how)
    kept = load(save(f, tmp_path/'m'), 'cpu')
    assert torch.equal(kept.predict_scores(f.images.valid.images), f.scores)
    for name, part in (('resnet50', 'not on this machine'), ('resnet81', 'no such classifier')):
        with refused(f'timm:{name}', part): fit('frozen', f.images, device='cpu', backbone=f'timm:{name}')
