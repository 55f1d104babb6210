"""What is read off compiled programs about their communication."""

import json

import pytest

from benchmarks import communication
from benchmarks.communication import Collective, collectives, factor

PROGRAM = """\
HloModule step

%region (a: f32[], b: f32[]) -> f32[] {
  ROOT %add = f32[] add(f32[] %a, f32[] %b)
}

ENTRY %main (x: f32[20,5]) -> f32[] {
  %all-reduce = (f32[20,5]{1,0}, bf16[3]{0}) all-reduce(%x, %y), replica_groups=[1,8]<=[8], \
use_global_device_ids=true, to_apply=%region
  %all-gather.1 = s32[16]{0} all-gather(%z), replica_groups={{0,1,2,3},{4,5,6,7}}, dimensions={0}
}
"""


def test_collectives_of_a_program():
    # 20 x 5 floats of 4 bytes and 3 of 2; 16 whole numbers of 4 bytes over groups of four.
    assert collectives(PROGRAM) == [
        Collective("all-reduce", 20 * 5 * 4 + 3 * 2, 8, looped=False),
        Collective("all-gather", 16 * 4, 4, looped=False),
    ]


def test_a_collective_in_a_loop_is_known_as_one():
    looped = PROGRAM.replace("ENTRY %main", "%body").replace(
        "HloModule step", "HloModule step\n  %w = while(%s), condition=%c, body=%body"
    )
    assert [one.looped for one in collectives(looped)] == [True, True]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        # A ring of four: three quarters are passed on to reduce, and three quarters to gather.
        ("all-reduce", 1.5),
        ("all-gather", 0.75),
        # The result is a quarter of what is reduced, of which three quarters are passed on.
        ("reduce-scatter", 3.0),
        ("all-to-all", 0.75),
        ("collective-permute", 1.0),
    ],
)
def test_what_a_ring_of_four_sends(kind, expected):
    assert factor(kind, 4) == expected


@pytest.mark.slow
def test_a_step_on_eight_devices_sends_its_gradients(capfd):
    communication.main(["--quick"])
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    compiled, *by_formula = lines
    assert compiled["how"] == "compiled"
    assert [line["settings"]["mesh"]["data"] for line in by_formula] == [128, 256, 512, 1024]
    assert compiled["in_loops"] == 0
    # All parameters of the network, 4 bytes each, and little besides.
    reduced = compiled["collectives"]["all-reduce"]["megabytes"]
    assert 703_348 * 4 / 1e6 <= reduced <= 1.2 * 703_348 * 4 / 1e6
