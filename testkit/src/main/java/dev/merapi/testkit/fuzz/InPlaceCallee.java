// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.fuzz;

import dev.merapi.ops.PointwiseOp;
import dev.merapi.tensor.Tensor;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** {@link PointwiseOp#into}. */
record InPlaceCallee(PointwiseOp op) implements Callee {
    @Override
    public String name() {
        return op.op().name() + "_";
    }

    @Override
    @SuppressWarnings("unchecked")
    public List<Tensor> call(Run run, @Nullable Object[] args) {
        op.into(
                (Tensor) java.util.Objects.requireNonNull(args[0]),
                (List<Tensor>) java.util.Objects.requireNonNull(args[1]),
                (List<Number>) java.util.Objects.requireNonNull(args[2]));
        return List.of();
    }

    @Override
    public boolean isStatement() {
        return true;
    }

    @Override
    public String print(List<String> args) {
        String field = Catalogue.fieldOf(op.op());
        return (field == null ? op.op().name() : field.replaceAll("\\.op\\(\\)$", "")) + ".into("
                + String.join(", ", args) + ")";
    }
}
