// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.merapi.ops.Activations;
import dev.merapi.ops.Arithmetic;
import dev.merapi.ops.Comparisons;
import dev.merapi.ops.PointwiseOp;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.function.Function;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/**
 * Integers of 8 and 16 bits, alone and among each other, at and around the ends of their range: bit for bit as PyTorch has
 * them, from {@code small_integers.txt}. A backend that passes agrees with every other that does.
 */
public abstract class SmallIntegersContract {
    private static final double[] FLOATS = {
        0.0, -0.5, 2.9, -2.9, 127.5, 128, 200, 255, 256, 300, -129, -1e4, 65535.5, 7e4, 2147480000.0, -2147480000.0
    };
    private static final long[] WIDE = {0, -1, 127, 128, 255, 256, -129, 32768, -32769, 65535, 1 << 30, -(1L << 31)};

    private static final Map<String, PointwiseOp> BINARY = Map.ofEntries(
            Map.entry("add", Arithmetic.ADD),
            Map.entry("sub", Arithmetic.SUB),
            Map.entry("mul", Arithmetic.MUL),
            Map.entry("minimum", Arithmetic.MINIMUM),
            Map.entry("maximum", Arithmetic.MAXIMUM),
            Map.entry("pow", Arithmetic.POW),
            Map.entry("floor_divide", Arithmetic.FLOOR_DIVIDE),
            Map.entry("remainder", Arithmetic.REMAINDER),
            Map.entry("fmod", Arithmetic.FMOD),
            Map.entry("bit_and", Comparisons.BIT_AND),
            Map.entry("bit_or", Comparisons.BIT_OR),
            Map.entry("bit_xor", Comparisons.BIT_XOR),
            Map.entry("shift_left", Comparisons.SHIFT_LEFT),
            Map.entry("shift_right", Comparisons.SHIFT_RIGHT),
            Map.entry("eq", Comparisons.EQ),
            Map.entry("lt", Comparisons.LT),
            Map.entry("ge", Comparisons.GE));
    private static final List<String> DIVIDING = List.of("floor_divide", "remainder", "fmod");

    private static final Map<String, Function<Tensor, Tensor>> UNARY = Map.ofEntries(
            Map.entry("neg", Arithmetic.NEG::call),
            Map.entry("abs", Arithmetic.ABS::call),
            Map.entry("sign", Arithmetic.SIGN::call),
            Map.entry("square", Arithmetic.SQUARE::call),
            Map.entry("bit_not", Comparisons.BIT_NOT::call),
            Map.entry("relu", Activations.RELU::call),
            Map.entry("logical_not", Comparisons.LOGICAL_NOT::call),
            Map.entry("sum", x -> x.sum()),
            Map.entry("prod", x -> x.slice(0, 1, 4).prod()),
            Map.entry("amin", x -> x.amin()),
            Map.entry("amax", x -> x.amax()),
            Map.entry("argmin", x -> x.argmin()),
            Map.entry("argmax", x -> x.argmax()),
            Map.entry("any", x -> x.any()),
            Map.entry("all", x -> x.all()),
            Map.entry("cumsum", x -> x.cumsum(0)),
            Map.entry("sort", x -> x.flip(0).sort(0).values()),
            Map.entry("sort_descending", x -> x.sort(0, true).indices()),
            Map.entry("topk", x -> x.topk(5).values()),
            Map.entry("nonzero", Tensor::nonzero),
            Map.entry("index_add", x -> x.indexAdd(0, places(x), source(x))),
            Map.entry("scatter_add", x -> x.scatterAdd(0, places(x), source(x))));

    protected abstract Device device();

    /** Whether a line is tried: a kernel that is new costs much where it is compiled. */
    protected boolean tries(String line) {
        return true;
    }

    private final Map<String, long[]> values = new HashMap<>();

    private static Tensor places(Tensor x) {
        return Tensor.of(new long[] {0, 0, 1, x.size(0) - 1}).to(x.device());
    }

    private static Tensor source(Tensor x) {
        return x.slice(0, 0, 4).sub(1);
    }

    @Test
    void valuesAreThoseOfPyTorch() throws IOException {
        List<String> wrong = new ArrayList<>();
        int tried = 0;
        for (String line : lines()) {
            String[] sides = line.split(" = ");
            String[] head = sides[0].split(" ");
            String[] cells = sides[1].split(" ");
            if (head[0].equals("values")) {
                values.put(head[1], Stream.of(cells).mapToLong(Long::parseLong).toArray());
            } else if (!List.of("dtypes", "promote", "scalars").contains(head[0]) && tries(sides[0])) {
                tried++;
                try (Scope scope = Scope.open()) {
                    Tensor got = result(head);
                    long[] expected = Arrays.stream(cells)
                            .skip(1)
                            .mapToLong(Long::parseLong)
                            .toArray();
                    long[] all = got.toLongArray();
                    if (!got.dtype().shortName().equals(cells[0]) || !Arrays.equals(expected, all)) {
                        wrong.add(sides[0] + ": " + got.dtype() + Arrays.toString(all) + "\n  PyTorch " + cells[0]
                                + Arrays.toString(expected));
                    }
                }
            }
        }
        assertTrue(tried > 0, "nothing was tried");
        assertTrue(wrong.isEmpty(), wrong.size() + " of " + tried + " differ:\n" + String.join("\n", wrong));
    }

    private Tensor result(String[] head) {
        DType dtype = named(head[1]);
        switch (head[0]) {
            case "from_floats" -> {
                return Tensor.of(FLOATS).to(DType.FLOAT32).to(device()).to(dtype);
            }
            case "from_wide" -> {
                return Tensor.of(WIDE).to(device()).to(dtype);
            }
            case "to" -> {
                return operand(head[1]).to(named(head[2]));
            }
            default -> {
                // below
            }
        }
        Function<Tensor, Tensor> unary = UNARY.get(head[0]);
        if (unary != null) {
            return unary.apply(operand(head[1]));
        }
        Tensor y = operand(head[2]);
        if (DIVIDING.contains(head[0])) {
            y = y.maskedFill(y.eq(0), 5); // PyTorch refuses to divide by 0
        }
        return Objects.requireNonNull(BINARY.get(head[0]), head[0])
                .call(operand(head[1]).unsqueeze(1), y.unsqueeze(0));
    }

    /** By the way that Java arrays go. */
    private Tensor operand(String name) {
        long[] v = Objects.requireNonNull(values.get(name), name);
        DType dtype = named(name);
        Tensor t;
        if (dtype.byteSize() == Byte.BYTES) {
            byte[] bytes = new byte[v.length];
            for (int i = 0; i < v.length; i++) {
                bytes[i] = (byte) v[i];
            }
            t = Tensor.of(bytes, dtype, v.length);
            assertArrayEquals(bytes, t.toByteArray());
        } else {
            short[] shorts = new short[v.length];
            for (int i = 0; i < v.length; i++) {
                shorts[i] = (short) v[i];
            }
            t = Tensor.of(shorts);
            assertArrayEquals(shorts, t.toShortArray());
        }
        assertEquals(dtype, t.dtype());
        return t.to(device());
    }

    static DType named(String name) {
        return Stream.of(DType.values())
                .filter(d -> d.shortName().equals(name))
                .findFirst()
                .orElseThrow();
    }

    /** The lines of the golden file. */
    protected static List<String> lines() throws IOException {
        try (BufferedReader in = new BufferedReader(new InputStreamReader(
                Objects.requireNonNull(SmallIntegersContract.class.getResourceAsStream("golden/small_integers.txt")),
                StandardCharsets.UTF_8))) {
            return in.lines().filter(line -> !line.startsWith("#")).toList();
        }
    }
}
