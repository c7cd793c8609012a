"""What every :class:`holdfast.ports.runtime.Runtime` keeps: the real one, in real worker processes."""

import asyncio
import struct
from pathlib import Path

import pytest

from holdfast.adapters.runtime_onnx import OnnxRuntime
from holdfast.core.inference import Tensor
from holdfast.errors import HoldfastError
from tests.helpers import onnx_files as onnx

ARTIFACT = "ab" * 32


def runtime(**change):
    settings = {"optimisation": "basic", "threads": 1, "memory_bytes": 256 << 20, "model_bytes": 1 << 20, "run_s": 30.0}
    return OnnxRuntime(**{**settings, **change})


def floats(shape, *values):
    return Tensor("float32", shape, struct.pack(f"<{len(values)}f", *values))


def with_model(data, job, **change):
    """Load a model, do something with it, and let it go."""

    async def run():
        model = await runtime(**change).load(ARTIFACT, data)
        try:
            return await job(model)
        finally:
            await model.close()

    return asyncio.run(run())


def refusal(data, items=None, outputs=(), **change):
    async def job(model):
        await model.run(items or [], outputs)

    with pytest.raises(HoldfastError) as refused:
        with_model(data, job, **change)
    return refused.value.code


def test_a_hostile_model_never_reaches_a_worker():
    assert (
        refusal(onnx.model(onnx.graph([onnx.node("Run", ["x"], ["y"], domain="com.example")], [], [])))
        == "model.operator"
    )


def test_a_model_larger_than_allowed_is_refused():
    assert refusal(onnx.linear(), model_bytes=100) == "model.size"


def test_what_the_runtime_does_not_load_is_refused():
    assert refusal(onnx.model(onnx.graph([onnx.node("NoSuchThing", ["x"], ["y"])], [], []))) == "model.load"


@pytest.mark.parametrize(
    ("item", "code"),
    [
        ({}, "infer.inputs"),
        ({"x": floats((1, 2), 1, 2), "z": floats((), 1)}, "infer.inputs"),
        ({"x": floats((1, 3), 1, 2, 3)}, "infer.shape"),
        ({"x": floats((2,), 1, 2)}, "infer.shape"),
    ],
)
def test_inputs_that_the_model_does_not_take_are_refused(item, code):
    assert refusal(onnx.linear(), [item]) == code


def test_an_output_that_it_does_not_have_is_refused():
    assert refusal(onnx.linear(), [{"x": floats((1, 2), 1, 2)}], ["z"]) == "infer.outputs"


def test_a_model_that_fails_on_its_inputs_stays_and_says_so():
    model = onnx.model(
        onnx.graph(
            [onnx.node("Reshape", ["x", "s"], ["y"])],
            [onnx.value_info("x", ["n"]), onnx.value_info("s", [1], onnx.INT64)],
            [onnx.value_info("y", ["m"])],
        )
    )

    async def job(loaded):
        bad = {"x": floats((2,), 1, 2), "s": Tensor("int64", (1,), struct.pack("<q", 7))}
        with pytest.raises(HoldfastError) as refused:
            await loaded.run([bad], ())
        good = {**bad, "s": Tensor("int64", (1,), struct.pack("<q", 2))}
        return refused.value.code, await loaded.run([good], ())

    code, answers = with_model(model, job)
    assert code == "infer.runtime"
    assert answers == [{"y": floats((2,), 1, 2)}]


def test_a_model_that_takes_all_memory_is_ended():
    huge = {"x": Tensor("int64", (2,), struct.pack("<qq", 1 << 18, 1 << 14))}
    assert refusal(onnx.growing(), [huge]) in ("infer.limits", "infer.runtime")


def test_a_model_that_takes_for_ever_is_ended():
    async def job(model):
        with pytest.raises(HoldfastError) as refused:
            await model.run([{"x": Tensor("int64", (), struct.pack("<q", 1 << 40))}], ())
        alive = model.alive
        with pytest.raises(HoldfastError) as after:
            await model.run([{"x": Tensor("int64", (), struct.pack("<q", 1))}], ())
        return refused.value.code, alive, after.value.code

    assert with_model(onnx.endless(), job, run_s=0.5) == ("infer.limits", False, "infer.limits")


def test_a_caller_that_gives_up_leaves_no_answer_for_the_next():
    async def job(model):
        running = asyncio.create_task(model.run([{"x": Tensor("int64", (), struct.pack("<q", 1 << 40))}], ()))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        return model.alive

    assert not with_model(onnx.endless(), job)


def test_a_worker_has_no_environment_and_no_descriptors_of_ours():
    async def job(model):
        process = Path(f"/proc/{model._process.pid}")
        return (process / "environ").read_bytes(), [str(item.readlink()) for item in (process / "fd").iterdir()]

    environment, names = with_model(onnx.linear(), job)
    assert b"PATH" not in environment
    assert b"TOKEN" not in environment
    strange = [name for name in names if not name.startswith(("pipe:", "/dev/", "anon_inode:", "socket:"))]
    assert strange == []


def test_it_computes_and_says_how():
    async def job(model):
        one = await model.run([{"x": floats((2, 2), 1, 2, 3, 4)}], ())
        two = await model.run([{"x": floats((1, 2), 1, 2)}, {"x": floats((1, 2), 3, 4)}], ["y"])
        return model, one, two

    model, one, two = with_model(onnx.linear(), job)
    assert (model.artifact, [item.name for item in model.inputs]) == (ARTIFACT, ["x"])
    assert model.inputs[0].shape == (None, 2)
    assert one == [{"y": floats((2, 1), 0.125, 0.625)}]
    assert two == [{"y": floats((1, 1), 0.125)}, {"y": floats((1, 1), 0.625)}]
    conditions = runtime().conditions
    assert (conditions.runtime, conditions.optimisation, conditions.threads) == ("onnxruntime", "basic", 1)
    assert conditions.instructions


def test_strings_pass_through():
    async def job(model):
        return await model.run([{"x": Tensor("string", (2,), ("a", "é"))}], ())

    assert with_model(onnx.echo(), job) == [{"y": Tensor("string", (2,), ("a", "é"))}]
