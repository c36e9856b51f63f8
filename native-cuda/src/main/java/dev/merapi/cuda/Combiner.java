// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda;

import dev.merapi.expr.RegType;
import dev.merapi.ops.Combine;
import dev.merapi.types.DType;

/** What a reduction accumulates, as device code: {@code Acc}, {@code empty}, {@code add}, {@code join} and {@code finish}. */
final class Combiner {
    private Combiner() {}

    /**
     * @param value type that is accumulated
     * @param result dtype of the result
     */
    static String print(Combine combine, DType value, DType result) {
        RegType register = RegType.of(value);
        String t = CudaTypes.register(register);
        String store = "wr(*at, cast_" + RegType.of(result) + "(%s))";
        String lines = switch (combine) {
            case SUM -> simple(t, "0", "op_add", store.formatted("a.v"));
            case MEAN -> simple(t, "0", "op_add", store.formatted("a.v / (" + t + ")n"));
            case PROD -> simple(t, "1", "op_mul", store.formatted("a.v"));
            case MIN -> simple(t, largest(register), "op_min", store.formatted("a.v"));
            case MAX ->
                simple(
                        t,
                        "-" + largest(register) + (register.isFloating() ? "" : " - 1"),
                        "op_max",
                        store.formatted("a.v"));
            case ANY -> simple("bool", "false", "op_or", store.formatted("a.v"));
            case ALL -> simple("bool", "true", "op_and", store.formatted("a.v"));
            case ARGMIN -> index(t, "<");
            case ARGMAX -> index(t, ">");
            case VAR -> variance(t, store);
        };
        return lines.replace("@R", CudaTypes.storage(result));
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

    private static String simple(String t, String identity, String op, String finish) {
        return """
                struct Acc { @T v; };
                MERAPI_F Acc empty() { return Acc{(@T)(@I)}; }
                MERAPI_F void add(Acc& a, @T v, long long) { a.v = @O(a.v, v); }
                MERAPI_F Acc join(Acc a, Acc b) { return Acc{@O(a.v, b.v)}; }
                MERAPI_F void finish(@R* at, Acc a, long long n, double) { @F; }
                """.replace("@T", t).replace("@I", identity).replace("@O", op).replace("@F", finish);
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
                MERAPI_F void add(Acc& a, @T v, long long r) { a = join(a, Acc{v, r}); }
                MERAPI_F void finish(@R* at, Acc a, long long, double) { wr(*at, a.at); }
                """.replace("@T", t).replace("@B", better);
    }

    /** Welford's update, and Chan's for two groups. */
    private static String variance(String t, String store) {
        return """
                struct Acc { @T mean, square; long long n; };
                MERAPI_F Acc empty() { return Acc{0, 0, 0}; }
                MERAPI_F void add(Acc& a, @T v, long long) {
                    a.n++;
                    const @T d = v - a.mean;
                    a.mean += d / (@T)a.n;
                    a.square += d * (v - a.mean);
                }
                MERAPI_F Acc join(Acc a, Acc b) {
                    if (a.n == 0 || b.n == 0) return a.n == 0 ? b : a;
                    const long long n = a.n + b.n;
                    const @T d = b.mean - a.mean, share = (@T)b.n / (@T)n;
                    return Acc{a.mean + d * share, a.square + b.square + d * d * (@T)a.n * share, n};
                }
                MERAPI_F void finish(@R* at, Acc a, long long n, double correction) {
                    const double rest = (double)n - correction;
                    @S;
                }
                """.replace("@S", store.formatted("(@T)(a.square / (rest > 0 ? rest : 0.0))"))
                .replace("@T", t);
    }
}
