"""Networks whose blocks are mixed from templates."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_compositional import SMALL_COMPOSITIONAL

from routing_jax.errors import UserError
from routing_jax.models.factory import DataShape, make_model
from routing_jax.types import Exploration

SHAPE = DataShape(num_tasks=3, num_classes=2, image=(4, 4, 1))
SMALL = SMALL_COMPOSITIONAL
GIVEN = SMALL | {"router__policy": "fixed", "model__num_blocks": None}
RESNET = {"model__encoder": "resnet", "model__block": "basic"}
X = jnp.asarray(np.random.default_rng(0).normal(size=(3, 5, 2, 2, 4)), jnp.float32)
TRAIN = Exploration(temperature=jnp.ones(()))


@pytest.fixture
def small(build):
    """Builds a small network with changed fields."""

    def make(base=SMALL, **values):
        return build(SHAPE, **base | values)

    return make


# Compiling is most of the time of these tests.
QUICK = {"xla_backend_optimization_level": 0}


@functools.partial(jax.jit, static_argnums=0, compiler_options=QUICK)
def passed(model, variables, x, exploration):
    kept = ["batch_stats"] if exploration else []
    return model.apply(variables, x, exploration, method="route", mutable=kept)


def answers(built, x=X, exploration=None, *, variables=None):
    """Logits, and all else that a pass through the routed layers gives."""
    routed, moved = passed(built.model, variables or built.variables, x, exploration)
    return routed, moved.get("batch_stats", {})


def with_params(built, **params):
    return built.variables | {"params": built.variables["params"] | params}


def by_hand(built, x, task, order):
    """One task's logits where its blocks run whole, in that order, outside of training."""
    params, stats = built.variables["params"], built.variables["batch_stats"]
    block = built.model.banks[0].block.clone(parent=None)
    x = x[task]
    for depth, number in enumerate(order):
        own = jax.tree.map(lambda leaf, k=number: leaf[k], params["banks_0"]["blocks"])
        averages = jax.tree.map(lambda leaf, d=depth: leaf[d, 0, 0], stats["averages"]["averages"])
        x = block.apply({"params": own, "batch_stats": averages}, x)
    x = built.model.adapter.clone(parent=None).apply({"params": params.get("adapter", {})}, x)
    head = params["head"]["blocks"]["Dense_0"]
    return x @ head["kernel"][task] + head["bias"][task][None]


@pytest.mark.parametrize("start", ["uneven", "alike", "cycle", "sequence"])
def test_tasks_start_from_mixing_weights_of_their_own_or_from_the_same(small, start):
    router = small(router__mixing_start=start).model.router.clone(parent=None)
    logits = router.init(jax.random.key(0), method="weights")["params"]["logits"]
    assert (logits == logits[:1]).all() == (start != "uneven")


@pytest.mark.parametrize("network", [{}, RESNET], ids=["isometric", "resnet"])
def test_mixing_by_one_is_running_that_template(small, network):
    orders = [[0, 1], [1, 1], [1, 0]]
    routes = " ".join("-".join(map(str, order)) for order in orders)
    given = small(GIVEN, router__routes=routes, **network)
    assert "router" not in given.variables["params"]
    # Logits so far apart that a softmax is one and zeros.
    logits = jnp.where(jax.nn.one_hot(jnp.asarray(orders), 2, dtype=bool), 200.0, -200.0)
    learned = small(**network)
    variables = with_params(given, router={"logits": logits})
    variables["batch_stats"] |= {"router": {"temperature": jnp.ones(())}}
    found = [
        answers(given)[0].logits,
        answers(learned, variables=variables)[0].logits,
        answers(small(dispatch__apply="select", **network), variables=variables)[0].logits,
    ]
    for task, order in enumerate(orders):
        expected = by_hand(given, X, task, order)
        for logits in found:
            np.testing.assert_allclose(logits[task], expected, rtol=1e-4, atol=1e-4)


def test_as_many_templates_as_depths_in_their_order_are_the_independent_network(small):
    independent = small(GIVEN, model__bank="per_depth", router__routes="shared")
    one_bank = small(GIVEN, router__routes="0-1 0-1 0-1")
    params = dict(independent.variables["params"])
    banks = [params.pop(f"banks_{depth}") for depth in range(2)]
    params["banks_0"] = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *banks)
    variables = independent.variables | {"params": params}
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, one_bank.variables["params"])
    for exploration in (None, TRAIN):
        expected, moved = answers(independent, exploration=exploration)
        found, also_moved = answers(one_bank, exploration=exploration, variables=variables)
        np.testing.assert_allclose(found.logits, expected.logits, rtol=1e-5, atol=1e-5)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), moved, also_moved
        )


@pytest.mark.parametrize("statistics", ["shared", "per_depth", "per_depth_and_task"])
@pytest.mark.parametrize("apply", ["mix_parameters", "mix_outputs"])
def test_answers_do_not_depend_on_the_batch(small, statistics, apply):
    built = small(model__statistics=statistics, dispatch__apply=apply)
    averages = built.variables["batch_stats"]["averages"]["averages"]
    places = {"shared": (1, 1), "per_depth": (2, 1), "per_depth_and_task": (2, 3)}[statistics]
    templates = 2 if apply == "mix_outputs" else 1
    assert averages["BatchNorm_0"]["mean"].shape == (*places, templates, 24)
    together = answers(built)[0].logits
    alone = jnp.stack([answers(built, X[:, i : i + 1])[0].logits[:, 0] for i in range(5)], 1)
    np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-5)


def test_statistics_are_over_tasks_unless_each_task_has_its_own(small):
    own, common = (small(model__statistics=s) for s in ("per_depth_and_task", "per_depth"))
    # Task 0 alone changes: what the other tasks answer depends on it only in common statistics.
    changed = X.at[0].multiply(3.0)
    for built, same in ((own, True), (common, False)):
        before, after = (answers(built, x, TRAIN)[0].logits for x in (X, changed))
        assert bool((before[1:] == after[1:]).all()) == same
        assert bool((before[0] != after[0]).any())


def test_common_running_averages_are_the_means_of_the_places_that_share(small):
    shared, per_depth = (small(model__statistics=s) for s in ("shared", "per_depth"))
    start = shared.variables["batch_stats"]["averages"]["averages"]
    spread = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (2, *leaf.shape[1:])), start)
    variables = per_depth.variables | {
        "params": shared.variables["params"],
        "batch_stats": shared.variables["batch_stats"] | {"averages": {"averages": spread}},
    }
    (one, moved), (other, of_depths) = (
        answers(shared, exploration=TRAIN),
        answers(per_depth, exploration=TRAIN, variables=variables),
    )
    np.testing.assert_allclose(one.logits, other.logits, rtol=1e-5, atol=1e-5)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a[0], b.mean(0), rtol=1e-5, atol=1e-6),
        moved["averages"],
        of_depths["averages"],
    )


def test_mixed_outputs_are_the_weighted_sum_of_what_the_templates_give(small):
    built = small(dispatch__apply="mix_outputs", model__depth=1, model__bank="per_depth")
    params, stats = built.variables["params"], built.variables["batch_stats"]
    weights = jax.nn.softmax(params["router"]["logits"])[:, 0]
    block = built.model.banks[0].block.clone(parent=None)
    outputs = [
        block.apply(
            {
                "params": jax.tree.map(lambda leaf, k=k: leaf[k], params["banks_0"]["blocks"]),
                "batch_stats": jax.tree.map(
                    lambda leaf, k=k: leaf[0, 0, k], stats["averages"]["averages"]
                ),
            },
            X.reshape(-1, 2, 2, 4),
        ).reshape(X.shape)
        for k in range(2)
    ]
    mixed = jnp.einsum("ktnxyf,tk->tnxyf", jnp.stack(outputs), weights)
    adapted = built.model.adapter.clone(parent=None).apply({"params": params["adapter"]}, mixed)
    head = params["head"]["blocks"]["Dense_0"]
    expected = jnp.einsum("tnf,tfc->tnc", adapted, head["kernel"]) + head["bias"][:, None]
    np.testing.assert_allclose(answers(built)[0].logits, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("apply", ["mix_parameters", "mix_outputs"])
def test_one_mixture_for_all_tasks_is_that_of_tasks_that_mix_alike(small, apply):
    trunk, own = (small(router__agent=a, dispatch__apply=apply) for a in ("single", "per_task"))
    logits = trunk.variables["params"]["router"]["logits"]
    assert logits.shape == (1, 2, 2)
    variables = with_params(trunk, router={"logits": logits.repeat(3, 0)})
    expected = answers(own, exploration=TRAIN, variables=variables)[0]
    found = answers(trunk, exploration=TRAIN)[0]
    np.testing.assert_allclose(found.logits, expected.logits, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found.probabilities, expected.probabilities, rtol=1e-6)


def test_the_weights_are_reported_and_evaluated_at_the_temperature_of_training(small):
    built = small()
    logits = built.variables["params"]["router"]["logits"]
    routed, moved = answers(built, exploration=Exploration(temperature=0.1))
    assert routed.decisions is None
    np.testing.assert_allclose(routed.probabilities[:, 0], jax.nn.softmax(logits / 0.1), rtol=1e-5)
    later = answers(built, variables=built.variables | {"batch_stats": moved})[0]
    np.testing.assert_allclose(later.probabilities, routed.probabilities, rtol=1e-5)


@pytest.mark.parametrize("apply", ["mix_outputs", "select"])
def test_the_loss_reaches_templates_mixing_weights_and_heads(small, apply):
    built = small(dispatch__apply=apply)

    def loss(params):
        variables = built.variables | {"params": params}
        return (passed.__wrapped__(built.model, variables, X, TRAIN)[0].logits ** 2).mean()

    slopes = jax.jit(jax.grad(loss), compiler_options=QUICK)(built.variables["params"])
    assert bool((slopes["router"]["logits"] != 0).all())
    for part in ("banks_0", "adapter", "head"):
        assert all(bool((leaf != 0).any()) for leaf in jax.tree.leaves(slopes[part]))


def test_widths_may_differ_in_blocks_at_each_depth(small):
    built = small(GIVEN, model__bank="per_depth", router__routes="own_last")
    counts = [bank.num_blocks for bank in built.model.banks]
    assert counts == [1, 3]
    routed = answers(built)[0]
    np.testing.assert_array_equal(routed.probabilities[:, 0, 1], np.eye(3))
    np.testing.assert_array_equal(routed.probabilities[:, 0, 0], [[1, 0, 0]] * 3)


@pytest.mark.parametrize("encoder", ["strided", "space_to_depth", "plain"])
def test_every_stem_gives_the_resolution_and_the_width(small, encoder):
    resolution = 4 if encoder == "plain" else 2
    built = small(model__encoder=encoder, model__resolution=resolution)
    images = jnp.zeros((5, *SHAPE.image), jnp.uint8)
    x = built.model.apply(built.variables, images, train=False, method="encode")
    assert x.shape == (5, resolution, resolution, 4)


@pytest.mark.parametrize(
    ("encoder", "image", "message"),
    [
        (
            "strided",
            (28, 28, 1),
            "model.resolution = 8 does not suit images of 28x28 and model.encoder = strided: for "
            "square images of side 28 it is one of 1, 2, 4, 7, 14, 28; data.image_size changes the "
            "images.",
        ),
        (
            "plain",
            (16, 16, 1),
            "model.resolution = 8 does not suit images of 16x16 and model.encoder = plain: for "
            "square images of side 16 it is one of 16; data.image_size changes the images.",
        ),
        (  # 12 is halved twice, and so are 4 channels
            "resnet",
            (12, 12, 1),
            "model.resolution = 8 does not suit images of 12x12 and model.encoder = resnet: for "
            "square images of side 12 it is one of 12, 6, 3; data.image_size changes the images.",
        ),
    ],
)
def test_a_resolution_that_images_cannot_have_is_refused(model_config, encoder, image, message):
    blocks = RESNET if encoder == "resnet" else {"model__encoder": encoder}
    config = model_config(**SMALL | blocks | {"model__resolution": 8})
    with pytest.raises(UserError) as caught:
        make_model(config, DataShape(2, 2, image), block_noise=1.0)
    assert str(caught.value) == message


def test_the_sizes_of_the_paper(model_config):
    sizes = {"model__width": 40, "model__resolution": 16, "model__depth": 16}
    config = model_config(**SMALL | sizes | {"model__num_blocks": 4})
    model = make_model(config, DataShape(5, 10, (32, 32, 3)), block_noise=1.0)
    images = jax.ShapeDtypeStruct((5, 1, 32, 32, 3), jnp.uint8)
    keys = {"params": jax.random.key(0), "router": jax.random.key(0)}
    shapes = jax.eval_shape(lambda x: model.init(keys, x, exploration=Exploration()), images)
    counts = {
        name: sum(leaf.size for leaf in jax.tree.leaves(part))
        for name, part in shapes["params"].items()
    }
    # Four templates of 22,400 (see test_isometric); 16 x 4 weights a task; the end is 40 x 128 +
    # 128 and 128 x 256 + 256; a head is 256 x 10 + 10; the stem 12 x 40 and twice 40.
    assert counts == {
        "banks_0": 89_600,
        "router": 5 * 64,
        "adapter": 5_248 + 33_024,
        "head": 5 * 2_570,
        "encoder": 560,
    }
