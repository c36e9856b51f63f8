// SPDX-License-Identifier: Apache-2.0
package dev.merapi.nn;

import dev.merapi.autograd.Autograd;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.Shape;
import java.util.ArrayList;
import java.util.IdentityHashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/** The table of a block and what is inside. */
final class Summary {
    private Summary() {}

    static String of(Layer layer, long[] shape) {
        List<Parameter> parameters = layer.parameters();
        DType dtype = parameters.isEmpty()
                ? DType.FLOAT32
                : parameters.get(0).tensor().dtype();
        Device device =
                parameters.isEmpty() ? Device.CPU : parameters.get(0).tensor().device();
        try (Scope scope = Scope.open()) {
            return of(layer, Tensor.zeros(Shape.of("summary", shape), dtype, device));
        }
    }

    /** Shapes are what hooks see of a call. */
    static String of(Layer layer, Tensor x) {
        Map<Block, String> outputs = new IdentityHashMap<>();
        Map<Block, Boolean> modes = new LinkedHashMap<>();
        List<Runnable> hooks = new ArrayList<>();
        layer.namedBlocks().values().forEach(block -> {
            modes.put(block, block.isTraining());
            if (block instanceof Layer inner) {
                hooks.add(inner.forwardHook((in, out) -> {
                    outputs.put(inner, out.shape().toString());
                    return out;
                }));
            }
        });
        layer.eval();
        try (Scope scope = Scope.open();
                Autograd.Mode mode = Autograd.noGrad()) {
            Tensor unused = layer.forward(x);
        } finally {
            hooks.forEach(Runnable::run);
            modes.forEach(Block::train); // outer ones first, which set those inside
        }
        return table(layer, outputs);
    }

    static String table(Block block, Map<Block, String> outputs) {
        List<String[]> rows = new ArrayList<>();
        rows.add(new String[] {"name", "type", "output", "parameters"});
        block.namedBlocks()
                .forEach((name, inner) -> rows.add(new String[] {
                    name, inner.kind(), outputs.getOrDefault(inner, ""), number(count(inner.own(), false))
                }));
        int[] widths = new int[4];
        rows.forEach(row -> {
            for (int i = 0; i < row.length; i++) {
                widths[i] = Math.max(widths[i], row[i].length());
            }
        });
        StringBuilder s = new StringBuilder();
        for (String[] row : rows) {
            for (int i = 0; i < 3; i++) {
                s.append(row[i]).append(" ".repeat(widths[i] - row[i].length() + 2));
            }
            s.append(" ".repeat(widths[3] - row[3].length())).append(row[3]).append('\n');
        }
        List<Parameter> all = block.parameters();
        return s.append(number(count(all, false)))
                .append(" parameters, of which ")
                .append(number(count(all, true)))
                .append(" are trained\n")
                .toString();
    }

    private static long count(List<Parameter> parameters, boolean trained) {
        return parameters.stream()
                .filter(p -> p.isTrained() && (!trained || p.tensor().requiresGrad()))
                .mapToLong(p -> p.tensor().numel())
                .sum();
    }

    private static String number(long n) {
        return String.format(Locale.ROOT, "%,d", n);
    }
}
