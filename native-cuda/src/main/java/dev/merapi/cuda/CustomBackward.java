// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda;

import dev.merapi.error.SchemaException;
import dev.merapi.op.Backward;
import dev.merapi.op.BackwardContext;
import dev.merapi.op.CudaKernel;
import dev.merapi.op.Definition;
import dev.merapi.op.Grads;
import dev.merapi.op.RecordType;
import dev.merapi.op.Schema;
import dev.merapi.tensor.Tensor;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/** A backward kernel that somebody wrote: writes {@code d_x} for each argument that a gradient is wanted of. */
final class CustomBackward implements Backward<Object, Object> {
    private record NoArguments() {}

    private final Definition<?, ?> op;
    private final CudaKernel code;
    private final CustomLaunch launch;

    CustomBackward(Definition<?, ?> op, CudaKernel code, Kernels kernels) {
        this.op = op;
        this.code = code;
        this.launch = new CustomLaunch("backward of " + op.name(), code, kernels);
    }

    @Override
    public Grads apply(BackwardContext context, @Nullable Object saved, @Nullable Object gradients) {
        Map<String, Tensor> incoming = incoming(context, gradients);
        Operands inputs = new Operands();
        incoming.forEach(inputs::input);
        if (saved instanceof Record r) {
            inputs.record("", r, Set.of());
        } else if (saved != null) {
            inputs.input("saved", saved);
        }
        inputs.values().replaceAll((name, value) -> rowMajor(value));
        Tensor first = (Tensor) Objects.requireNonNull(
                inputs.values().get(incoming.keySet().iterator().next()));

        Operands operands = new Operands();
        Grads grads = Grads.none();
        for (Schema.Argument argument : op.schema().arguments()) {
            String name = argument.name();
            Object known = inputs.values().get(name);
            if (argument.kind() == Schema.Kind.TENSOR) {
                Tensor like = known instanceof Tensor t ? t : first;
                Tensor made = context.needs(name) ? allocated(like) : null;
                operands.output("d_" + name, made);
                grads = grads.and(name, made);
            } else if (argument.kind() == Schema.Kind.TENSORS) {
                List<Tensor> made = gradients(context, name, known);
                operands.outputs("d_" + name, made);
                grads = grads.and(name, made);
            } else if (argument.kind() == Schema.Kind.RECORD) {
                throw new SchemaException(
                        "backward of " + op.name() + ": argument '" + name + "' is a record of tensors,"
                                + " which a CudaKernel writes no gradients of\n  fix: give the formula in Java.");
            }
        }
        operands.add(inputs);
        List<Tensor> all = List.copyOf(incoming.values());
        launch.run(
                operands,
                first,
                () -> ((CudaKernel.Explicit) code.launch())
                        .grid()
                        .apply(saved instanceof Record r ? r : new NoArguments(), all));
        return grads;
    }

    private List<Tensor> gradients(BackwardContext context, String name, @Nullable Object known) {
        List<Tensor> like = Operands.tensors(known);
        if (!(known instanceof List<?>)) {
            throw new SchemaException("backward of " + op.name() + ": the sizes of the gradients of '" + name
                    + "' are not known\n  fix: save the list, as a component of that name.");
        }
        List<Tensor> made = new ArrayList<>();
        for (Tensor t : like) {
            made.add(allocated(t));
        }
        return context.needs(name) ? made : List.of();
    }

    private static Tensor allocated(Tensor like) {
        return Tensor.allocate(like.shape(), like.dtype(), like.device());
    }

    private static @Nullable Object rowMajor(@Nullable Object value) {
        if (value instanceof Tensor t) {
            return t.contiguous();
        }
        if (value instanceof List<?> list && list.stream().allMatch(e -> e instanceof Tensor)) {
            return Operands.tensors(list).stream().map(Tensor::contiguous).toList();
        }
        return value;
    }

    /** What came, by the names of the outputs; where no gradient came, zeros. */
    private Map<String, Tensor> incoming(BackwardContext context, @Nullable Object gradients) {
        Map<String, Tensor> named = new LinkedHashMap<>();
        if (gradients instanceof List<?> list) {
            for (int i = 0; i < list.size(); i++) {
                named.put("d_out" + i, context.orZeros((Tensor) list.get(i), i));
            }
        } else if (gradients instanceof Record r) {
            RecordType type = RecordType.of(r.getClass(), null);
            int slot = 0;
            for (int i = 0; i < type.size(); i++) {
                if (type.component(i).getType() == Tensor.class) {
                    named.put("d_" + type.name(i), context.orZeros((Tensor) type.get(r, i), slot++));
                }
            }
        } else {
            named.put("d_out", context.orZeros((Tensor) gradients, 0));
        }
        return named;
    }

    @Override
    public String toString() {
        return code.toString();
    }
}
