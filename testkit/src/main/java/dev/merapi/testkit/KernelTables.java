// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit;

import dev.merapi.backend.KernelTable;
import dev.merapi.error.Spelling;
import dev.merapi.op.Op;
import dev.merapi.op.OpRegistry;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;

/** What a table of kernels says, held against the ops themselves: it is filled without defining any of them. */
public final class KernelTables {
    private KernelTables() {}

    /** Names that no op has, and kernels that take or give something else than the op: a line for each. */
    public static List<String> faults(KernelTable table) {
        Ops.builtIn();
        table.signatures().values().forEach(signature -> defineOps(signature.arguments()));
        Map<String, Op<?, ?>> ops = OpRegistry.all().stream().collect(Collectors.toMap(Op::name, op -> op));
        List<String> faults = new ArrayList<>();
        table.signatures().forEach((name, signature) -> {
            Op<?, ?> op = ops.get(name);
            if (op == null) {
                faults.add(name + ": there is no such op; nearest: " + Spelling.nearest(name, ops.keySet()));
            } else {
                KernelTable.Signature wanted =
                        new KernelTable.Signature(op.argumentType(), op.result().type());
                if (!wanted.equals(signature)) {
                    faults.add(name + ": the op is " + wanted + ", its kernel " + signature);
                }
            }
        });
        return faults;
    }

    /** Ops of a backend's own are defined beside the records of their arguments. */
    private static void defineOps(Class<? extends Record> record) {
        Class<?> family = record.getNestHost();
        try {
            Class.forName(family.getName(), true, family.getClassLoader());
        } catch (ClassNotFoundException e) {
            throw new IllegalStateException(e);
        }
    }
}
