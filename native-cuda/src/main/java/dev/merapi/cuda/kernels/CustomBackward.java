// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.kernels;

import static dev.merapi.dispatch.EngineAccess.TENSORS;

import dev.merapi.cuda.launch.Kernels;
import dev.merapi.cuda.launch.Operands;
import dev.merapi.error.SchemaException;
import dev.merapi.op.Backward;
import dev.merapi.op.BackwardContext;
import dev.merapi.op.CudaKernel;
import dev.merapi.op.CudaNames;
import dev.merapi.op.Definition;
import dev.merapi.op.Grads;
import dev.merapi.op.Schema;
import dev.merapi.op.tree.RecordType;
import dev.merapi.tensor.Tensor;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/** A backward kernel that somebody wrote: writes {@code d_x} for each argument that a gradient is wanted of. */
public final class CustomBackward implements Backward<Object, Object> {
    private record NoArguments() {}

    private final String name;
    private final Schema schema;
    private final CudaKernel code;
    private final CustomLaunch launch;

    /** Holds no definition of the op: it is known by that, and goes with it. */
    public CustomBackward(Definition<?, ?> op, CudaKernel code, Kernels kernels) {
        this.name = op.name();
        this.schema = op.schema();
        this.code = code;
        this.launch = new CustomLaunch(launchName(), code, kernels);
    }

    @Override
    public Grads apply(BackwardContext context, @Nullable Object saved, @Nullable Object gradients) {
        Operands inputs = new Operands();
        List<Tensor> all = incoming(context, gradients, inputs);
        Set<String> taken = new HashSet<>(inputs.values().keySet());
        schema.tensorNames().forEach(name -> taken.add("d_" + name));
        if (saved instanceof Record r) {
            Operands values = new Operands();
            values.record(r, Set.of());
            for (String name : values.values().keySet()) {
                CudaNames.requireSaved(launchName(), code, name, taken.contains(name));
                if (values.isOptional(name)) {
                    CudaNames.requireSaved(
                            launchName(), code, "has_" + name, values.values().containsKey("has_" + name));
                }
            }
            inputs.add(values);
        } else if (saved != null) {
            inputs.input("saved", saved);
        }
        if (all.isEmpty()) {
            throw new SchemaException(launchName() + ": a CudaKernel needs an op with tensors in its result");
        }
        Tensor first = all.get(0);

        Operands operands = new Operands();
        Grads grads = Grads.none();
        for (Schema.Argument argument : schema.arguments()) {
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
                grads = grads.andList(name, made);
            } else if (argument.kind() == Schema.Kind.RECORD) {
                grads = grads.and(name, null); // of plain values: CudaNames has refused others
            }
        }
        operands.add(inputs);
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
            throw new SchemaException("backward of " + name + ": the sizes of the gradients of '" + name
                    + "' are not known\n  fix: save the list, as a component of that name.");
        }
        List<Tensor> made = new ArrayList<>();
        for (Tensor t : like) {
            made.add(allocated(t));
        }
        return context.needs(name) ? made : List.of();
    }

    private static Tensor allocated(Tensor like) {
        return TENSORS.allocate(like.shape(), like.dtype(), like.device());
    }

    /** What came, by the names of the outputs; where no gradient came, zeros. */
    private static List<Tensor> incoming(BackwardContext context, @Nullable Object gradients, Operands inputs) {
        List<Tensor> all = new ArrayList<>();
        if (gradients instanceof Record r) {
            RecordType type = RecordType.of(r.getClass(), null);
            for (int i = 0; i < type.size(); i++) {
                Object value = type.get(r, i);
                if (type.component(i).getType() == Tensor.class) {
                    all.add(context.orZeros((Tensor) value, all.size()));
                    inputs.input("d_" + type.name(i), all.get(all.size() - 1));
                } else if (value instanceof List<?> list && isOfTensors(type, i)) {
                    int begin = all.size();
                    for (Object element : list) {
                        all.add(context.orZeros((Tensor) element, all.size()));
                    }
                    inputs.input("d_" + type.name(i), List.copyOf(all.subList(begin, all.size())));
                }
            }
            return all;
        }
        List<?> list = gradients instanceof List<?> many ? many : Collections.singletonList(gradients);
        for (int i = 0; i < list.size(); i++) {
            all.add(context.orZeros((Tensor) list.get(i), i));
            inputs.input(gradients instanceof List<?> ? "d_out" + i : "d_out", all.get(i));
        }
        return all;
    }

    private static boolean isOfTensors(RecordType type, int i) {
        return type.component(i).getGenericType().getTypeName().contains(Tensor.class.getName());
    }

    private String launchName() {
        return "backward of " + name;
    }

    @Override
    public String toString() {
        return code.toString();
    }
}
