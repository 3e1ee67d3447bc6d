"""Whole sequences of a recurrent network while it learns: every state, and the gradients written out.

A step is a handful of operations on a few rows, each too small to be worth its call, and autograd
would record them all and walk back through them one by one. Here the walk back is two or three
operations a step: what a gate passes on is a factor that does not depend on what comes back, so the
factors of all steps are made at once, and so are the gradients of the weights afterwards. Forward
and backward of a GRU of 100 units through 30 steps of 17 users take seven tenths of autograd's time.
The cells' steps in `networks` are the plain form.

Axes: B users, T steps, H units, G gates of a cell.
"""

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

Gradients = tuple[Tensor, Tensor, Tensor]


class _Rnn(Function):
    """h' = tanh(W x + U h)."""

    @staticmethod
    def forward(ctx: Any, gates: Tensor, w_hh: Tensor, b_hh: Tensor) -> Tensor:
        """(B, T, H) the states, of the gates (B, T, H)."""
        by_step = gates.transpose(0, 1) + b_hh  # (T, B, H)
        states = _room(by_step, 1 + len(by_step), len(w_hh))
        turned = w_hh.t()
        torch.tanh(by_step[0], out=states[1])
        for step in range(1, len(by_step)):
            torch.addmm(by_step[step], states[step], turned, out=states[step + 1]).tanh_()
        ctx.save_for_backward(w_hh, states)
        return states[1:].transpose(0, 1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Gradients:
        """The gradients of gates and weights."""
        w_hh, states = ctx.saved_tensors
        flow = _by_step(grad)  # (T, B, H) of each state; what comes from later steps is added as it is known
        passed = 1 - states[1:].square()
        for step in range(len(flow) - 1, 0, -1):
            flow[step - 1].addmm_(flow[step].mul_(passed[step]), w_hh)
        flow[0].mul_(passed[0])
        return flow.transpose(0, 1), *_of_weights(flow, states[:-1])


class _Gru(Function):
    """The equations of `networks.gru_step`."""

    @staticmethod
    def forward(ctx: Any, gates: Tensor, w_hh: Tensor, b_hh: Tensor) -> Tensor:
        """(B, T, H) the states, of the gates (B, T, 3H)."""
        units = w_hh.shape[1]
        by_step = gates.transpose(0, 1).contiguous()  # (T, B, 3H)
        states = _room(by_step, 1 + len(by_step), units)
        recurrent = torch.empty_like(by_step)
        gated = _room(by_step, len(by_step), 2 * units)  # reset and update
        new = _room(by_step, len(by_step), units)
        turned = w_hh.t()
        for step, (before, after) in enumerate(pairwise(states)):
            shown, carried = by_step[step], recurrent[step]
            if step:
                torch.addmm(b_hh, before, turned, out=carried)
            else:
                carried[:] = b_hh
            gate = torch.add(shown[:, : 2 * units], carried[:, : 2 * units], out=gated[step]).sigmoid_()
            fresh = torch.addcmul(
                shown[:, 2 * units :], gate[:, :units], carried[:, 2 * units :], out=new[step]
            ).tanh_()
            torch.lerp(fresh, before, gate[:, units:], out=after)
        ctx.save_for_backward(w_hh, states, recurrent, gated, new)
        return states[1:].transpose(0, 1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Gradients:
        """The gradients of gates and weights."""
        w_hh, states, recurrent, gated, new = ctx.saved_tensors
        before = states[:-1]
        steps, batch, units = new.shape
        reset, update = gated.chunk(2, 2)
        of_new = (1 - update) * (1 - new.square())  # what the new gate's argument gets of the state's
        factors = new.new_empty(steps, batch, 3, units)
        factors[:, :, 0] = of_new * recurrent[:, :, 2 * units :] * reset * (1 - reset)
        factors[:, :, 1] = (before - new) * update * (1 - update)
        factors[:, :, 2] = of_new * reset
        flow, of_recurrent = _by_step(grad), torch.empty_like(factors)
        for step in range(steps - 1, -1, -1):
            torch.mul(flow[step].unsqueeze(1), factors[step], out=of_recurrent[step])
            if step:
                earlier = flow[step - 1].addcmul_(flow[step], update[step])
                earlier.addmm_(of_recurrent[step].view(batch, -1), w_hh)
        flat = of_recurrent.view(steps, batch, -1)
        weights = _of_weights(flat, before)
        of_recurrent[:, :, 2] = flow * of_new  # the reset gate stands between the matrix and the new gate
        return flat.transpose(0, 1), *weights


class _Lstm(Function):
    """The equations of `networks.lstm_step`; the state is [h, c]."""

    @staticmethod
    def forward(ctx: Any, gates: Tensor, w_hh: Tensor, b_hh: Tensor) -> Tensor:
        """(B, T, 2H) the states, of the gates (B, T, 4H)."""
        units = w_hh.shape[1]
        by_step = gates.transpose(0, 1) + b_hh  # (T, B, 4H), each step's made what passes the gates
        states = _room(by_step, 1 + len(by_step), 2 * units)
        shown = _room(by_step, len(by_step), units)  # tanh of the memory
        turned = w_hh.t()
        for step, (before, after) in enumerate(pairwise(states)):
            gate = by_step[step]
            if step:
                gate.addmm_(before[:, :units], turned)
            gate[:, : 2 * units].sigmoid_()
            gate[:, 2 * units : 3 * units].tanh_()
            gate[:, 3 * units :].sigmoid_()
            taken, kept, new, output = gate.chunk(4, 1)
            memory = torch.mul(kept, before[:, units:], out=after[:, units:]).addcmul_(taken, new)
            torch.mul(output, torch.tanh(memory, out=shown[step]), out=after[:, :units])
        ctx.save_for_backward(w_hh, states, by_step, shown)
        return states[1:].transpose(0, 1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Gradients:
        """The gradients of gates and weights."""
        w_hh, states, gated, shown = ctx.saved_tensors
        steps, batch, units = shown.shape
        taken, kept, new, output = gated.chunk(4, 2)
        of_memory = gated.new_empty(steps, batch, 3, units)  # of the three gates that the memory is made of
        of_memory[:, :, 0] = new * taken * (1 - taken)
        of_memory[:, :, 1] = states[:-1, :, units:] * kept * (1 - kept)
        of_memory[:, :, 2] = taken * (1 - new.square())
        of_output = shown * output * (1 - output)
        into_memory = output * (1 - shown.square())
        flow, memory = (part.contiguous() for part in _by_step(grad).chunk(2, 2))
        found = gated.new_empty(steps, batch, 4, units)
        for step in range(steps - 1, -1, -1):
            memory[step].addcmul_(flow[step], into_memory[step])
            torch.mul(memory[step].unsqueeze(1), of_memory[step], out=found[step, :, :3])
            torch.mul(flow[step], of_output[step], out=found[step, :, 3])
            if step:
                memory[step - 1].addcmul_(memory[step], kept[step])
                flow[step - 1].addmm_(found[step].view(batch, -1), w_hh)
        flat = found.view(steps, batch, -1)
        return flat.transpose(0, 1), *_of_weights(flat, states[:-1, :, :units])


CELLS: Mapping[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "rnn": _Rnn.apply,
    "lstm": _Lstm.apply,
    "gru": _Gru.apply,
}
"""(B, T, S) the states from zero, of gates (B, T, G*H), ``weight_hh`` and ``bias_hh``."""


def _room(like: Tensor, steps: int, width: int) -> Tensor:
    """(steps, B, width) to be filled, the first step with zeros."""
    room = like.new_empty(steps, like.shape[1], width)
    room[0] = 0
    return room


def _by_step(grad: Tensor) -> Tensor:
    """(T, B, S) a copy that can be written to, of (B, T, S)."""
    return grad.transpose(0, 1).clone(memory_format=torch.contiguous_format)


def _of_weights(of_recurrent: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients of ``weight_hh`` and ``bias_hh``; (T, B, G*H) and the hidden states before, (T, B, H).

    Before the first step there are zeros, here as on the way forward: nothing to be multiplied with.
    """
    return of_recurrent[1:].flatten(0, 1).t() @ before[1:].flatten(0, 1), of_recurrent.sum((0, 1))
