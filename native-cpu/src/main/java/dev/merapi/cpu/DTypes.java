// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cpu;

import dev.merapi.ops.Losses;
import dev.merapi.ops.Scattering;
import dev.merapi.types.DType;
import java.util.EnumMap;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.function.Function;
import java.util.function.ToIntFunction;

/** The numbers by which native functions take dtypes and reductions of losses: asked for by name, once. */
final class DTypes {
    private static final Map<DType, Integer> CODES = codes(DType.class, DType::shortName, Native::dtype_code);
    private static final Map<Losses.Reduction, Integer> REDUCTIONS =
            codes(Losses.Reduction.class, r -> r.name().toLowerCase(Locale.ROOT), Native::reduction_code);

    private static final Map<Scattering.Reduce, Integer> SCATTERS =
            codes(Scattering.Reduce.class, r -> r.name().toLowerCase(Locale.ROOT), Native::scatter_reduction_code);

    private DTypes() {}

    private static <E extends Enum<E>> Map<E, Integer> codes(
            Class<E> type, Function<E, String> name, ToIntFunction<String> number) {
        Map<E, Integer> codes = new EnumMap<>(type);
        for (E e : type.getEnumConstants()) {
            int code = number.applyAsInt(name.apply(e));
            if (code < 0) {
                throw new IllegalStateException("the native library has no " + type.getSimpleName() + " "
                        + name.apply(e) + "; it is of another build than the classes");
            }
            codes.put(e, code);
        }
        return codes;
    }

    static int code(DType dtype) {
        return Objects.requireNonNull(CODES.get(dtype));
    }

    static int code(Scattering.Reduce reduce) {
        return Objects.requireNonNull(SCATTERS.get(reduce));
    }

    static int code(Losses.Reduction reduction) {
        return Objects.requireNonNull(REDUCTIONS.get(reduction));
    }
}
