// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.print;

import dev.merapi.expr.ir.RegType;
import dev.merapi.ops.Combine;
import dev.merapi.types.DType;

/**
 * What a reduction accumulates, as device code: {@code Acc}, {@code empty}, {@code add} of one value or of some, {@code
 * join}, {@code from_above} (what another lane has) and {@code finished}. Values are added in the order of their indices.
 */
public final class Combiner {
    private Combiner() {}

    /** @param value type that is accumulated */
    static String print(Combine combine, DType value) {
        RegType register = RegType.of(value);
        String t = CudaTypes.register(register);
        return switch (combine) {
            case SUM -> simple(t, "0", "op_add", "a.v");
            case MEAN -> simple(t, "0", "op_add", "a.v / (" + t + ")n");
            case PROD -> simple(t, "1", "op_mul", "a.v");
            case MIN -> simple(t, largest(register), "op_min", "a.v");
            case MAX -> simple(t, "-" + largest(register) + (register.isFloating() ? "" : " - 1"), "op_max", "a.v");
            case ANY -> simple("bool", "false", "op_or", "a.v");
            case ALL -> simple("bool", "true", "op_and", "a.v");
            case ARGMIN -> index(t, "<");
            case ARGMAX -> index(t, ">");
            case VAR -> variance(t);
        };
    }

    private static String largest(RegType type) {
        return switch (type) {
            case F32 -> "__int_as_float(0x7f800000)";
            case F64 -> "__longlong_as_double(0x7ff0000000000000ll)";
            case I32 -> "2147483647";
            case I64 -> "9223372036854775807ll";
            case BOOL -> throw new IllegalArgumentException("the smallest and largest of bools are all and any");
        };
    }

    /** Bytes of an accumulator, or more. */
    public static int bytes(Combine combine, DType value) {
        int size = value.byteSize();
        return combine == Combine.VAR ? 2 * size + Long.BYTES : combine.isIndex() ? 2 * Long.BYTES : size;
    }

    /** {@code add} of some values, one by one. */
    private static final String ADD_SOME = """
            template <int N>
            MERAPI_F void add(Acc& a, const @T (&v)[N], long long first, long long by) {
            #pragma unroll
                for (int i = 0; i < N; i++) add(a, v[i], first + i * by);
            }
            """;

    /** What {@code by} lanes above have, of each of these fields. */
    private static String fromAbove(String... fields) {
        StringBuilder out = new StringBuilder("MERAPI_F Acc from_above(Acc a, int by) {\n");
        for (String f : fields) {
            out.append("    a.")
                    .append(f)
                    .append(" = __shfl_down_sync(0xffffffffu, a.")
                    .append(f)
                    .append(", by);\n");
        }
        return out.append("    return a;\n}\n").toString();
    }

    private static String simple(String t, String identity, String op, String finished) {
        return """
                struct Acc { @T v; };
                MERAPI_F Acc empty() { return Acc{(@T)(@I)}; }
                MERAPI_F void add(Acc& a, @T v, long long) { a.v = @O(a.v, v); }
                @S@AMERAPI_F Acc join(Acc a, Acc b) { return Acc{@O(a.v, b.v)}; }
                MERAPI_F auto finished(Acc a, long long n, double) { return @F; }
                """.replace("@S", ADD_SOME)
                .replace("@A", fromAbove("v"))
                .replace("@T", t)
                .replace("@I", identity)
                .replace("@O", op)
                .replace("@F", finished);
    }

    /** The first NaN wins, then the better value, then the smaller index. */
    private static String index(String t, String better) {
        return """
                struct Acc { @T v; long long at; };
                MERAPI_F Acc empty() { return Acc{(@T)0, -1}; }
                MERAPI_F Acc join(Acc a, Acc b) {
                    if (a.at < 0 || b.at < 0) return a.at < 0 ? b : a;
                    const bool na = a.v != a.v, nb = b.v != b.v;
                    if (na != nb) return na ? a : b;
                    if (!na && a.v != b.v) return a.v @B b.v ? a : b;
                    return a.at < b.at ? a : b;
                }
                MERAPI_F void add(Acc& a, @T v, long long r) {
                    // NaN is not worse than anything.
                    if (a.at < 0 || (a.v == a.v && !(v @W a.v))) a = Acc{v, r};
                }
                @S@AMERAPI_F auto finished(Acc a, long long, double) { return a.at; }
                """.replace("@S", ADD_SOME)
                .replace("@A", fromAbove("v", "at"))
                .replace("@T", t)
                .replace("@B", better)
                .replace("@W", better.equals("<") ? ">=" : "<=");
    }

    /** Welford's update for one value, two passes over some of them, and Chan's for two groups. */
    private static String variance(String t) {
        return """
                struct Acc { @T mean, square; long long n; };
                MERAPI_F Acc empty() { return Acc{0, 0, 0}; }
                MERAPI_F void add(Acc& a, @T v, long long) {
                    a.n++;
                    const @T d = v - a.mean;
                    a.mean += d / (@T)a.n;
                    a.square += d * (v - a.mean);
                }
                @AMERAPI_F Acc join(Acc a, Acc b) {
                    if (a.n == 0 || b.n == 0) return a.n == 0 ? b : a;
                    const long long n = a.n + b.n;
                    const @T d = b.mean - a.mean, share = (@T)b.n / (@T)n;
                    return Acc{a.mean + d * share, a.square + b.square + d * d * (@T)a.n * share, n};
                }
                template <int N>
                MERAPI_F void add(Acc& a, const @T (&v)[N], long long, long long) {
                    @T mean = 0, square = 0;
                #pragma unroll
                    for (int i = 0; i < N; i++) mean += v[i];
                    mean /= N;
                #pragma unroll
                    for (int i = 0; i < N; i++) square += (v[i] - mean) * (v[i] - mean);
                    a = join(a, Acc{mean, square, N});
                }
                MERAPI_F auto finished(Acc a, long long n, double correction) {
                    const double rest = (double)n - correction;
                    return (@T)(a.square / (rest > 0 ? rest : 0.0));
                }
                """.replace("@A", fromAbove("mean", "square", "n")).replace("@T", t);
    }
}
