// SPDX-License-Identifier: Apache-2.0
package dev.merapi.types;

import java.util.Arrays;
import java.util.Collections;
import java.util.EnumSet;
import java.util.List;
import java.util.Locale;
import java.util.Objects;
import java.util.Set;

/**
 * Element type of a tensor. A type is one row here: its kind, size, name, numbers, and the types that are directly below it
 * in PyTorch's lattice of promotion:
 *
 * <pre>{@code
 * bool ─ uint8 ─┐                            ┌─ float16  ─┐
 *      └ int8  ─┴─ int16 ─ int32 ─ int64 ────┴─ bfloat16 ─┴─ float32 ─ float64
 * }</pre>
 *
 * <p>Two types promote to the lowest one that is above both: uint8 with int8 gives int16, float16 with bfloat16 float32.
 * Floating types smaller than 32 bits are storage formats: kernels compute in {@link #computeType()} and round once.
 * Integers wrap around in their own width.
 */
public enum DType {
    /** False and true, a byte of 0 or 1. */
    BOOL(1, "bool"),
    /** Whole numbers from 0 to 255. */
    UINT8(1, "u8", false, BOOL),
    /** Whole numbers from −128 to 127. */
    INT8(1, "i8", true, BOOL),
    /** Whole numbers of 16 bits with a sign. */
    INT16(2, "i16", true, UINT8, INT8),
    /** Whole numbers of 32 bits with a sign. */
    INT32(4, "i32", true, INT16),
    /** Whole numbers of 64 bits with a sign: indices and targets. */
    INT64(8, "i64", true, INT32),
    /** IEEE 754 half precision: 11 binary digits, up to 65504. */
    FLOAT16(2, "f16", 0x1p-10, INT64),
    /** The range of float32 with 8 binary digits. */
    BFLOAT16(2, "bf16", 0x1p-7, INT64),
    /** IEEE 754 single precision: the default of floating tensors. */
    FLOAT32(4, "f32", 0x1p-23, FLOAT16, BFLOAT16),
    /** IEEE 754 double precision. */
    FLOAT64(8, "f64", 0x1p-52, FLOAT32);

    /** The three categories of promotion, in rising order. */
    public enum Kind {
        /** False and true. */
        BOOLEAN,
        /** Whole numbers. */
        INTEGRAL,
        /** Real numbers, rounded. */
        FLOATING
    }

    /** How many dtypes there are; {@link #index()} is below. */
    public static final int COUNT = values().length;

    private static final DType[][] PROMOTED = new DType[COUNT][COUNT];

    static {
        for (DType a : values()) {
            for (DType b : values()) {
                PROMOTED[a.index()][b.index()] = lowestAbove(a, b);
            }
        }
    }

    private final Kind kind;
    private final int byteSize;
    private final String shortName;
    private final boolean signed;
    private final double epsilon;
    private final List<DType> below;
    private final String text = name().toLowerCase(Locale.ROOT);

    DType(int byteSize, String shortName) {
        this(Kind.BOOLEAN, byteSize, shortName, false, 0);
    }

    DType(int byteSize, String shortName, boolean signed, DType... below) {
        this(Kind.INTEGRAL, byteSize, shortName, signed, 0, below);
    }

    DType(int byteSize, String shortName, double epsilon, DType... below) {
        this(Kind.FLOATING, byteSize, shortName, true, epsilon, below);
    }

    DType(Kind kind, int byteSize, String shortName, boolean signed, double epsilon, DType... below) {
        this.kind = kind;
        this.byteSize = byteSize;
        this.shortName = shortName;
        this.signed = signed;
        this.epsilon = epsilon;
        this.below = List.of(below);
    }

    /** {@return whether it stands for truth, whole numbers or real ones} */
    public Kind kind() {
        return kind;
    }

    /**
     * Bytes of one element.
     *
     * @return 1, 2, 4 or 8
     */
    public int byteSize() {
        return byteSize;
    }

    /**
     * The name in kernels and program texts: {@code f32}, {@code bf16}, {@code i64}, …
     *
     * @return a short name, without spaces
     */
    public String shortName() {
        return shortName;
    }

    /** {@return whether it is one of the float types} */
    public boolean isFloating() {
        return kind == Kind.FLOATING;
    }

    /**
     * True for the integer types; bool is not one of them.
     *
     * @return whether it is a whole number with or without sign
     */
    public boolean isIntegral() {
        return kind == Kind.INTEGRAL;
    }

    /**
     * The type that arithmetic on this one is carried out in: float32 for the small floats, else itself.
     *
     * @return a dtype of the same kind
     */
    public DType computeType() {
        return isFloating() && byteSize < Float.BYTES ? FLOAT32 : this;
    }

    /**
     * The smallest integer of an integral type or bool; of floating ones that of int64.
     *
     * @return the number
     */
    public long min() {
        return isFloating() ? Long.MIN_VALUE : signed ? -1L << 8 * byteSize - 1 : 0;
    }

    /**
     * The largest integer of an integral type or bool; of floating ones that of int64.
     *
     * @return the number
     */
    public long max() {
        int bits = kind == Kind.BOOLEAN ? 1 : 8 * byteSize - (signed ? 1 : 0);
        return isFloating() ? Long.MAX_VALUE : -1L >>> Long.SIZE - bits;
    }

    /**
     * Whether an integer is one of this type's, from {@link #min()} to {@link #max()}; always true for floating types.
     *
     * @param value any integer
     * @return whether it is kept exactly; floating types do not count digits
     */
    public boolean contains(long value) {
        return value >= min() && value <= max();
    }

    /**
     * Whether all integers of another integral type, or bool, are integers of this one.
     *
     * @param other of any kind
     * @return whether each of its integers is one of this type
     */
    public boolean contains(DType other) {
        return contains(other.min()) && contains(other.max());
    }

    /**
     * Whether an integer converts to this type without being cut; true for floating types and bool. A negative one may
     * become an unsigned one that equals it modulo 256, as Java's bytes do.
     *
     * @param value any integer
     * @return whether {@link #wrap} loses nothing but its sign
     */
    public boolean holds(long value) {
        return !isIntegral() || contains(value) || !signed && value < 0 && contains(-value);
    }

    /**
     * The integer of this type that has the same low bits: what arithmetic leaves of a number that is out of range.
     *
     * @param value any integer
     * @return from {@link #min()} to {@link #max()}
     */
    public long wrap(long value) {
        if (kind != Kind.INTEGRAL) {
            return kind == Kind.BOOLEAN ? value == 0 ? 0 : 1 : value;
        }
        int unused = Long.SIZE - 8 * byteSize;
        return signed ? value << unused >> unused : value << unused >>> unused;
    }

    /**
     * Where this type stands in arrays that one process makes: no file, and no other language, knows this number.
     *
     * @return from 0 to {@link #COUNT} − 1
     */
    @SuppressWarnings("EnumOrdinal")
    public int index() {
        return ordinal();
    }

    /**
     * Distance from 1 to the next larger number; 0 for types that are not floating.
     *
     * @return such as 2⁻²³ of float32
     */
    public double epsilon() {
        return epsilon;
    }

    /**
     * The lowest type that both convert to, by the lattice above.
     *
     * @param a one operand's
     * @param b the other's
     * @return the same for (b, a)
     */
    public static DType promote(DType a, DType b) {
        Objects.requireNonNull(a, "a");
        Objects.requireNonNull(b, "b");
        return PROMOTED[a.index()][b.index()];
    }

    private static DType lowestAbove(DType a, DType b) {
        Set<DType> common = a.above();
        common.retainAll(b.above());
        for (DType lowest : common) {
            if (lowest.above().containsAll(common)) {
                return lowest;
            }
        }
        throw new AssertionError(a + " and " + b + " promote to none of " + common);
    }

    /** This type and all that it converts to. */
    private Set<DType> above() {
        Set<DType> all = EnumSet.of(this);
        for (DType other : values()) { // rows stand below those that they convert to
            if (!Collections.disjoint(other.below, all)) {
                all.add(other);
            }
        }
        return all;
    }

    /**
     * What texts for people call all types, in order.
     *
     * @return separated by commas
     */
    public static String names() {
        return String.join(", ", Arrays.stream(values()).map(DType::toString).toList());
    }

    @Override
    public String toString() {
        return text;
    }
}
