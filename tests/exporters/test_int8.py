import numpy as np
import onnx
import pytest
from conftest import TINY_RESNET
from PIL import Image
from saved_models import save_model

from mg_vtc.exporters.int8 import read_calibration_images
from mg_vtc.exporters.onnx import export_onnx
from mg_vtc.models.processing_mg_vtc import build_processor


def save_grey(path, level):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4), (level, level, level)).save(path)


def grey_levels(pixel_values, processor):
    mean, std = np.array(processor.image_mean), np.array(processor.image_std)
    return ((pixel_values[:, :, 0, 0] * std + mean) * 255).round().astype(int)[:, 0].tolist()


def test_few_images_are_all_taken_in_order_and_what_is_none_is_passed_over(tmp_path):
    for name, level in [("b/1.png", 30), ("a/x/2.PNG", 10), ("a/x/3.png", 20), (".cache/4.png", 40), ("a/.5.png", 50)]:
        save_grey(tmp_path / name, level)
    (tmp_path / "labels.csv").write_text("id,name\n")
    processor = build_processor(8)
    pixel_values = read_calibration_images(tmp_path, processor)
    assert pixel_values.shape == (3, 3, 8, 8)
    assert pixel_values.dtype == np.float32
    assert grey_levels(pixel_values, processor) == [10, 20, 30]


def test_of_many_images_some_are_taken_from_the_first_to_the_last(tmp_path):
    for number in range(511):
        save_grey(tmp_path / f"{number:03}.png", (number + 1) // 2 if number % 2 == 0 else 0)
    processor = build_processor(2)
    # 511 images have 510 steps, two for each of the 255 between 256 images
    assert grey_levels(read_calibration_images(tmp_path, processor), processor) == list(range(256))


def test_images_are_prepared_as_the_processor_does_it(images_dir):
    processor = build_processor(16)
    path = min(images_dir.rglob("*.png"))
    pixel_values = read_calibration_images(path.parent, processor)
    np.testing.assert_array_equal(pixel_values[0], processor(Image.open(path))["pixel_values"][0])


def test_folder_without_images_is_refused_with_the_way_out(tmp_path):
    with pytest.raises(ValueError, match=r"has no images: .* to `calibration_data`"):
        read_calibration_images(tmp_path, build_processor(8))
    with pytest.raises(FileNotFoundError, match="No folder"):
        read_calibration_images(tmp_path / "absent", build_processor(8))


def test_unreadable_image_is_named(tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no image")
    with pytest.raises(OSError, match=r"broken\.png"):
        read_calibration_images(tmp_path, build_processor(8))


@pytest.fixture(scope="module")
def int8_weights(images_dir, tmp_path_factory):
    folder = tmp_path_factory.mktemp("int8")
    # 6 classes from random weights: a wrong best class would be warned of, and is not what is tested here
    save_model(folder, TINY_RESNET, id2label={0: "a", 1: "b"}, logit_scale_init_value=0)
    with pytest.warns(UserWarning, match="was compared on 4 images"):
        export_onnx(str(folder), folder / "onnx", int8=True, calibration_data=images_dir / "Covering face")
    graph = onnx.load(folder / "onnx" / "classifier.int8.onnx").graph
    return graph, {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}


def test_every_convolution_has_int8_weights_of_7_bits_with_a_scale_a_channel(int8_weights):
    graph, initializers = int8_weights
    producers = {node.output[0]: node for node in graph.node}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    assert len(convolutions) == 6
    for convolution in convolutions:
        weights, scales = (initializers[name] for name in producers[convolution.input[1]].input[:2])
        assert weights.dtype == np.int8
        assert 60 <= np.abs(weights.astype(int)).max() <= 64
        assert scales.shape == weights.shape[:1]


def test_activations_are_unsigned_and_normalisation_stays_in_float(int8_weights):
    graph, initializers = int8_weights
    zero_points = [initializers[node.input[2]] for node in graph.node if node.op_type == "QuantizeLinear"]
    assert {zero_point.dtype for zero_point in zero_points} == {np.dtype(np.uint8)}
    (norm,) = (node for node in graph.node if node.op_type == "LayerNormalization")
    assert initializers[norm.input[1]].dtype == np.float32
