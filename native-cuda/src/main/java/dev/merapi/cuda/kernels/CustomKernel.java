// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.kernels;

import dev.merapi.cuda.launch.Kernels;
import dev.merapi.cuda.launch.Operands;
import dev.merapi.error.SchemaException;
import dev.merapi.op.CudaKernel;
import dev.merapi.op.Definition;
import dev.merapi.op.Kernel;
import dev.merapi.op.tree.RecordType;
import dev.merapi.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;

/** A kernel that somebody wrote for an op, called with the components of the op's record by name. */
public final class CustomKernel implements Kernel<Record, Object> {
    private final Definition<?, ?> op;
    private final CudaKernel code;
    private final CustomLaunch launch;

    public CustomKernel(Definition<?, ?> op, CudaKernel code, Kernels kernels) {
        this.op = op;
        this.code = code;
        this.launch = new CustomLaunch(op.name(), code, kernels);
    }

    @Override
    public void run(Record args, Object out) {
        Operands operands = new Operands();
        List<Tensor> all = outputs(out, operands);
        if (all.isEmpty()) {
            throw new SchemaException(op.name() + ": a CudaKernel needs an op with tensors in its result");
        }
        operands.record(args, op.mutates());
        launch.run(
                operands,
                all.get(0),
                () -> ((CudaKernel.Explicit) code.launch()).grid().apply(args, all));
    }

    /** By name: {@code out} for a single one, {@code out0, out1, …} for a list, else the names of the record. */
    private static List<Tensor> outputs(Object out, Operands operands) {
        List<Tensor> all = new ArrayList<>();
        if (out instanceof Tensor t) {
            operands.output("out", t);
            all.add(t);
        } else if (out instanceof List<?> list) {
            for (int i = 0; i < list.size(); i++) {
                operands.output("out" + i, (Tensor) list.get(i));
                all.add((Tensor) list.get(i));
            }
        } else if (out instanceof Record r) {
            RecordType type = RecordType.of(r.getClass(), null);
            for (int i = 0; i < type.size(); i++) {
                Object value = type.get(r, i);
                if (value instanceof Tensor t) {
                    operands.output(type.name(i), t);
                } else if (value instanceof List<?>) {
                    operands.outputs(type.name(i), Operands.tensors(value));
                }
                all.addAll(Operands.tensors(value));
            }
        }
        return all;
    }

    @Override
    public String toString() {
        return code.toString();
    }
}
