// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.fuzz;

import dev.merapi.autograd.Checkpoint;
import dev.merapi.tensor.Tensor;
import java.util.List;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;

/** A checkpointed chain of methods that take nothing but their receiver: {@code (input)}. */
record Checkpointed(List<MethodCallee> chain) implements Callee {
    @Override
    public String name() {
        return "checkpoint";
    }

    @Override
    public List<Tensor> call(Run run, @Nullable Object[] args) {
        Tensor input = (Tensor) java.util.Objects.requireNonNull(args[0]);
        return List.of(Checkpoint.checkpoint(
                x -> {
                    Tensor y = x;
                    for (MethodCallee m : chain) {
                        y = m.call(run, new Object[] {y}).get(0);
                    }
                    return y;
                },
                input));
    }

    @Override
    public String print(List<String> args) {
        return "Checkpoint.checkpoint(x -> x"
                + chain.stream().map(m -> "." + m.name() + "()").collect(Collectors.joining()) + ", " + args.get(0)
                + ")";
    }
}
