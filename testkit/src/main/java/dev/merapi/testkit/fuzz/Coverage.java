// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.fuzz;

import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import java.util.EnumMap;
import java.util.Map;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;

/** What the programs reached. */
final class Coverage {
    private final Map<String, Long> ops = new TreeMap<>();
    private final Map<DType, Long> dtypes = new EnumMap<>(DType.class);
    private final Map<String, Long> layouts = new TreeMap<>();
    private final Map<String, Long> steps = new TreeMap<>();
    private final Map<String, Long> errors = new TreeMap<>();
    private final Features features = new Features();
    private long programs;
    private long refusing;

    Features features() {
        return features;
    }

    void op(String name) {
        ops.merge(name, 1L, Long::sum);
    }

    void call(String op, @Nullable Tensor[] inputs) {
        op(op);
        for (Tensor t : inputs) {
            if (t != null) {
                dtypes.merge(t.dtype(), 1L, Long::sum);
                layouts.merge(layout(t), 1L, Long::sum);
            }
        }
    }

    private static String layout(Tensor t) {
        if (t.numel() == 0) {
            return "empty";
        }
        if (t.rank() == 0) {
            return "0-d";
        }
        if (t.isContiguous()) {
            return t.layout().offset() > 0 ? "offset" : t.numel() == 1 ? "one element" : "dense";
        }
        return t.layout().isInjective() ? "strided" : "expanded";
    }

    void step(String callee, @Nullable Throwable error) {
        steps.merge(callee, 1L, Long::sum);
        if (error != null) {
            errors.merge(callee, 1L, Long::sum);
        }
    }

    void program(boolean refused) {
        programs++;
        refusing += refused ? 1 : 0;
    }

    long ops() {
        return ops.size();
    }

    boolean reached(String op) {
        return ops.containsKey(op);
    }

    /** The share of steps that are refused, by callee, the most refused first. */
    String refusals(int count) {
        StringBuilder text = new StringBuilder();
        errors.entrySet().stream()
                .sorted((a, b) -> Long.compare(b.getValue(), a.getValue()))
                .limit(count)
                .forEach(e -> text.append("  ")
                        .append(e.getKey())
                        .append(": ")
                        .append(e.getValue())
                        .append(" of ")
                        .append(steps.get(e.getKey()))
                        .append('\n'));
        return text.toString();
    }

    @Override
    public String toString() {
        long calls = ops.values().stream().mapToLong(n -> n).sum();
        long all = steps.values().stream().mapToLong(n -> n).sum();
        long refused = errors.values().stream().mapToLong(n -> n).sum();
        return programs + " programs, " + refusing + " with a refused step; " + all + " steps, " + refused
                + " refused; " + calls + " calls of " + ops.size() + " ops\n  dtypes " + dtypes + "\n  layouts "
                + layouts + "\n  " + features;
    }
}
