// SPDX-License-Identifier: Apache-2.0
package dev.merapi.types;

import java.util.Locale;
import java.util.Objects;

/**
 * Element type of a tensor.
 *
 * <p>Promotion follows PyTorch's lattice: bool &lt; uint8 &lt; int32 &lt; int64 &lt; {float16, bfloat16} &lt; float32
 * &lt; float64, and float16 with bfloat16 gives float32. Floating types smaller than 32 bits are storage formats:
 * kernels compute in {@link #computeType()} and round once.
 */
public enum DType {
    FLOAT32(Kind.FLOATING, 4, "f32"),
    FLOAT64(Kind.FLOATING, 8, "f64"),
    FLOAT16(Kind.FLOATING, 2, "f16"),
    BFLOAT16(Kind.FLOATING, 2, "bf16"),
    INT32(Kind.INTEGRAL, 4, "i32"),
    INT64(Kind.INTEGRAL, 8, "i64"),
    UINT8(Kind.INTEGRAL, 1, "u8"),
    BOOL(Kind.BOOLEAN, 1, "bool");

    /** The three categories of promotion, in rising order. */
    public enum Kind {
        BOOLEAN,
        INTEGRAL,
        FLOATING
    }

    private static final DType[] VALUES = values();
    private static final DType[][] PROMOTED = new DType[VALUES.length][VALUES.length];

    static {
        for (DType a : VALUES) {
            for (DType b : VALUES) {
                PROMOTED[a.ordinal()][b.ordinal()] = joined(a, b);
            }
        }
    }

    private final Kind kind;
    private final int byteSize;
    private final String shortName;
    private final String text = name().toLowerCase(Locale.ROOT);

    DType(Kind kind, int byteSize, String shortName) {
        this.kind = kind;
        this.byteSize = byteSize;
        this.shortName = shortName;
    }

    public Kind kind() {
        return kind;
    }

    /** Bytes of one element. */
    public int byteSize() {
        return byteSize;
    }

    /** The name in kernels and program texts: {@code f32}, {@code bf16}, {@code i64}, … */
    public String shortName() {
        return shortName;
    }

    public boolean isFloating() {
        return kind == Kind.FLOATING;
    }

    /** True for the integer types; bool is not one of them. */
    public boolean isIntegral() {
        return kind == Kind.INTEGRAL;
    }

    /** The type that arithmetic on this one is carried out in: float32 for the small floats, else itself. */
    public DType computeType() {
        return this == FLOAT16 || this == BFLOAT16 ? FLOAT32 : this;
    }

    /**
     * Whether an integer converts to this type without being cut; true for floating types and bool. A negative one may
     * become a uint8 that equals it modulo 256, as Java's bytes do.
     */
    public boolean holds(long value) {
        return switch (this) {
            case INT32 -> value == (int) value;
            case UINT8 -> value >= -255 && value <= 255;
            default -> true;
        };
    }

    /** Distance from 1 to the next larger number; 0 for types that are not floating. */
    public double epsilon() {
        return switch (this) {
            case FLOAT64 -> 0x1p-52;
            case FLOAT32 -> 0x1p-23;
            case FLOAT16 -> 0x1p-10;
            case BFLOAT16 -> 0x1p-7;
            default -> 0;
        };
    }

    /** The smallest type that both convert to, by the lattice above. */
    public static DType promote(DType a, DType b) {
        Objects.requireNonNull(a, "a");
        Objects.requireNonNull(b, "b");
        return PROMOTED[a.ordinal()][b.ordinal()];
    }

    private static DType joined(DType a, DType b) {
        if (a == b) {
            return a;
        }
        if (a.kind != b.kind) {
            return a.kind.compareTo(b.kind) > 0 ? a : b;
        }
        if (a.kind == Kind.FLOATING) {
            return a == FLOAT64 || b == FLOAT64 ? FLOAT64 : FLOAT32;
        }
        return a.byteSize >= b.byteSize ? a : b;
    }

    @Override
    public String toString() {
        return text;
    }
}
