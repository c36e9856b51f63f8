// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.fuzz;

/**
 * Something that a program showed to be wrong.
 *
 * @param step the index of the step at which it showed
 * @param op what was called
 */
record Finding(Kind kind, String op, int step, String detail) {
    enum Kind {
        /** Two backends gave different bits where one rounding, or none, is all that there is. */
        DIFFERENT_BITS,
        /** A result is farther from the float64 one than the arithmetic explains. */
        INACCURATE,
        /** Shapes, dtypes, or whether gradients are wanted, differ between backends. */
        DIFFERENT_FORM,
        /** One backend refuses what another does, or in another way. */
        DIFFERENT_ERROR,
        /** An exception that is not one of the documented. */
        UNDOCUMENTED_ERROR,
        /** The text does not say which op refused. */
        NAMELESS_ERROR,
        /** A refused call changed something. */
        CHANGED_BY_ERROR,
        /** A gradient is not what differences of the outputs say. */
        WRONG_GRADIENT,
        /** Modes of the thread, or its scope, are not as before. */
        MODES,
        /** Memory is not given back. */
        LEAK,
        /** The process died, or stood still. */
        CRASH
    }

    /** Findings with the same key are taken for the same fault. */
    String key() {
        return kind + " " + op;
    }

    /** Whether it does not say which op is to blame. */
    boolean isOfWholeProgram() {
        return kind == Kind.LEAK || kind == Kind.MODES || kind == Kind.WRONG_GRADIENT;
    }

    @Override
    public String toString() {
        return key() + ": " + detail;
    }
}
