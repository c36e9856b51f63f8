// SPDX-License-Identifier: Apache-2.0
package dev.merapi.autograd.graph;

import dev.merapi.tensor.Tensor;
import org.jspecify.annotations.Nullable;

/** The end of the line: adds what arrives to a leaf's gradient, once per backward pass. */
final class AccumulateGrad extends Node {
    private final AutogradMeta meta;
    private final Edge edge = new Edge(this, 0);

    AccumulateGrad(AutogradMeta meta, Tensor leaf) {
        super("AccumulateGrad", new Tensor[] {Tensor.meta(leaf)});
        this.meta = meta;
    }

    AutogradMeta leaf() {
        return meta;
    }

    /** The way here: a leaf has one output, whatever it is a view of. */
    Edge edge() {
        return edge;
    }

    @Override
    @Nullable
    Tensor[] backward(@Nullable Tensor[] gradients, boolean[] needed, BackwardPass pass) {
        Tensor gradient = gradients[0];
        if (gradient != null) {
            pass.accumulate(meta, gradient, output(0));
        }
        return new Tensor[0];
    }
}
