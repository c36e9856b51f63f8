// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda;

import dev.merapi.error.SchemaException;
import dev.merapi.op.CudaKernel;
import dev.merapi.op.Definition;
import dev.merapi.op.Kernel;
import dev.merapi.op.RecordType;
import dev.merapi.tensor.Tensor;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** A kernel that somebody wrote for an op, called with the components of the op's record by name. */
final class CustomKernel implements Kernel<Record, Object> {
    private final Definition<?, ?> op;
    private final CudaKernel code;
    private final CustomLaunch launch;

    CustomKernel(Definition<?, ?> op, CudaKernel code, Kernels kernels) {
        this.op = op;
        this.code = code;
        this.launch = new CustomLaunch(op.name(), code, kernels);
    }

    @Override
    public void run(Record args, Object out) {
        Map<String, Tensor> outputs = outputs(out);
        if (outputs.isEmpty()) {
            throw new SchemaException(op.name() + ": a CudaKernel needs an op with tensors in its result");
        }
        Operands operands = new Operands();
        outputs.forEach(operands::output);
        operands.record("", args, op.mutates());
        List<Tensor> all = List.copyOf(outputs.values());
        launch.run(
                operands,
                all.get(0),
                () -> ((CudaKernel.Explicit) code.launch()).grid().apply(args, all));
    }

    /** By name: {@code out} for a single one, {@code out0, out1, …} for a list, else the names of the record. */
    private static Map<String, Tensor> outputs(Object out) {
        Map<String, Tensor> outputs = new LinkedHashMap<>();
        if (out instanceof Tensor t) {
            outputs.put("out", t);
        } else if (out instanceof List<?> list) {
            for (int i = 0; i < list.size(); i++) {
                outputs.put("out" + i, (Tensor) list.get(i));
            }
        } else if (out instanceof Record r) {
            RecordType type = RecordType.of(r.getClass(), null);
            for (int i = 0; i < type.size(); i++) {
                if (type.get(r, i) instanceof Tensor t) {
                    outputs.put(type.name(i), t);
                }
            }
        }
        return outputs;
    }

    @Override
    public String toString() {
        return code.toString();
    }
}
