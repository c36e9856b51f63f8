// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.runtime;

import dev.merapi.error.DeviceException;
import java.util.Collections;
import java.util.EnumSet;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * What cuBLASLt does to a product before it writes it, instead of a kernel of ours that reads and writes it once more; for
 * the whole process. {@code -Dmerapi.cuda.epilogues=bias,gelu,dgelu,dgelu_bgrad,bgrad} names those that are used, {@code none} none;
 * what is not named, what the library refuses and what is not aligned to 16 bytes is done apart.
 *
 * <p>The default is all but {@link Epilogue#BGRAD} and {@link Epilogue#DGELU_BGRAD}: users of the library report gains by the GELU's on the GPUs that this
 * is for, every framework uses the bias, and of the sums losses are on record that exceed what they can save, which is one
 * reading of the gradient. It follows the measurement ({@code DeviceReport}'s {@code epilogue_…}) once there is one.
 */
public final class Epilogues {
    public enum Epilogue {
        /** x·weightᵀ + bias, in one. */
        BIAS,
        /** geluTanh(x·weightᵀ + bias), which keeps what the GELU is applied to. 16-bit types only: it is not accurate to float32. */
        GELU,
        /** A product times the derivative of that GELU. 16-bit types only. */
        DGELU,
        /** With {@link #DGELU}, without which it does nothing: the sums of its columns too, which are the gradient of a bias. */
        DGELU_BGRAD,
        /** gᵀ·x, and the sums of g's columns, which are the gradient of the bias. */
        BGRAD
    }

    static final String PROPERTY = "merapi.cuda.epilogues";
    private static final Set<Epilogue> DEFAULT = EnumSet.of(Epilogue.BIAS, Epilogue.GELU, Epilogue.DGELU);
    private static volatile @Nullable Set<Epilogue> used;

    private Epilogues() {}

    /**
     * Those that are used; at first what the property says.
     *
     * @throws DeviceException if the property names another
     */
    public static Set<Epilogue> used() {
        Set<Epilogue> now = used;
        if (now == null) {
            now = parse(System.getProperty(PROPERTY));
            used = now;
        }
        return now;
    }

    /** From now on these are used. Returns those that were. */
    public static Set<Epilogue> use(Set<Epilogue> wanted) {
        Set<Epilogue> before = used();
        used = frozen(wanted);
        return before;
    }

    public static Set<Epilogue> parse(@Nullable String names) {
        if (names == null) {
            return frozen(DEFAULT);
        }
        EnumSet<Epilogue> all = EnumSet.noneOf(Epilogue.class);
        for (String name : names.equals("none") ? List.<String>of() : List.of(names.split(",", -1))) {
            try {
                all.add(Epilogue.valueOf(name.strip().toUpperCase(Locale.ROOT)));
            } catch (IllegalArgumentException e) {
                throw new DeviceException("cuda: " + PROPERTY + "=" + names + " names no epilogue '" + name
                        + "'\n  fix: none, or some of bias,gelu,dgelu,dgelu_bgrad,bgrad.");
            }
        }
        return frozen(all);
    }

    private static Set<Epilogue> frozen(Set<Epilogue> all) {
        EnumSet<Epilogue> copy = EnumSet.noneOf(Epilogue.class);
        copy.addAll(all);
        return Collections.unmodifiableSet(copy);
    }

    /** Whether all that is done to the product is to be done by the library. */
    public static boolean serve(MatrixProduct p) {
        MatrixProduct.Gelu gelu = p.gelu();
        if (gelu == null && p.sums() == null && p.bias() == null) {
            return true;
        }
        Set<Epilogue> now = used();
        if (gelu != null && !now.contains(gelu.backward() ? Epilogue.DGELU : Epilogue.GELU)) {
            return false;
        }
        return (p.sums() == null || now.contains(gelu == null ? Epilogue.BGRAD : Epilogue.DGELU_BGRAD))
                && (p.bias() == null || gelu != null || now.contains(Epilogue.BIAS));
    }
}
