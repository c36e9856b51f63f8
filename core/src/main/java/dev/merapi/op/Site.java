// SPDX-License-Identifier: Apache-2.0
package dev.merapi.op;

import java.util.List;
import org.jspecify.annotations.Nullable;

/** The place in the source that registered something. */
public final class Site {
    /** What defines ops for others. */
    private static final List<String> DEFINERS = List.of(
            "dev.merapi.op.",
            "dev.merapi.ops.Pointwise",
            "dev.merapi.ops.ReductionOp",
            "dev.merapi.ops.PairLoss",
            "java.");

    // To note a stack is cheap, to read one is not: each op has several of these, and nobody asks for most of them.
    private @Nullable Throwable stack;
    private @Nullable StackTraceElement frame;

    private Site(Throwable stack) {
        this.stack = stack;
    }

    /** The innermost frame that is not part of the op system itself, nor of the one-line forms. */
    static Site caller() {
        return new Site(new Throwable());
    }

    private synchronized StackTraceElement frame() {
        if (stack != null) {
            frame = new StackTraceElement("unknown", "unknown", null, 0);
            for (StackTraceElement f : stack.getStackTrace()) {
                if (!isDefiner(f.getClassName())) {
                    frame = f;
                    break;
                }
            }
            stack = null;
        }
        return java.util.Objects.requireNonNull(frame);
    }

    /** {@return the name of the source file, or of the class if that is not known} */
    public String file() {
        String file = frame().getFileName();
        return file == null ? frame().getClassName() : file;
    }

    /** {@return the number of the line} */
    public int line() {
        return frame().getLineNumber();
    }

    /** {@return class and method} */
    public String method() {
        return frame().getClassName() + "." + frame().getMethodName();
    }

    /** Whether it is the engine itself that defines or registers something, if only while it works for somebody. */
    static boolean isEngine() {
        StackTraceElement[] frames = new Throwable().getStackTrace();
        if (frames.length == 0) {
            return true; // a JVM that keeps no stacks, -XX:-StackTraceInThrowable: nobody is refused
        }
        int i = 0;
        while (i < frames.length && frames[i].getClassName().startsWith("dev.merapi.op.")) {
            i++;
        }
        int outside = i;
        boolean defines = false; // by a method for everybody, and not a gradient that is derived when it is needed
        while (i < frames.length && isDefiner(frames[i].getClassName())) {
            if (frames[i].getMethodName().equals("<clinit>")) {
                return true; // its own constant
            }
            defines |= frames[i++].getMethodName().equals("define");
        }
        return i > outside && !defines
                || i < frames.length && frames[i].getClassName().startsWith("dev.merapi.");
    }

    private static boolean isDefiner(String className) {
        for (String definer : DEFINERS) {
            if (className.startsWith(definer)) {
                return true;
            }
        }
        return false;
    }

    @Override
    public String toString() {
        return file() + ":" + line();
    }
}
