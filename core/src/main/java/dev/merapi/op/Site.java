// SPDX-License-Identifier: Apache-2.0
package dev.merapi.op;

import java.util.List;

/**
 * The place in the source that registered something.
 *
 * @param file name of the source file
 * @param line in it
 * @param method class and method, for people
 */
public record Site(String file, int line, String method) {
    private static final StackWalker WALKER = StackWalker.getInstance();
    private static final int DEPTH = 64;
    /** What defines ops for others. */
    private static final List<String> DEFINERS = List.of(
            "dev.merapi.op.",
            "dev.merapi.ops.Pointwise",
            "dev.merapi.ops.ReductionOp",
            "dev.merapi.ops.PairLoss",
            "java.");

    /** The innermost frame that is not part of the op system itself, nor of the one-line forms. */
    static Site caller() {
        return WALKER.walk(frames -> frames.filter(f -> !isDefiner(f.getClassName()))
                .findFirst()
                .map(f -> new Site(
                        f.getFileName() == null ? f.getClassName() : f.getFileName(),
                        f.getLineNumber(),
                        f.getClassName() + "." + f.getMethodName()))
                .orElse(new Site("unknown", 0, "unknown")));
    }

    /** Whether it is the engine itself that defines or registers something, if only while it works for somebody. */
    static boolean isEngine() {
        List<StackWalker.StackFrame> outside =
                WALKER.walk(frames -> frames.dropWhile(f -> f.getClassName().startsWith("dev.merapi.op."))
                        .limit(DEPTH)
                        .toList());
        int i = 0;
        boolean defines = false; // by a method for everybody, and not a gradient that is derived when it is needed
        while (i < outside.size() && isDefiner(outside.get(i).getClassName())) {
            if (outside.get(i).getMethodName().equals("<clinit>")) {
                return true; // its own constant
            }
            defines |= outside.get(i++).getMethodName().equals("define");
        }
        return i > 0 && !defines
                || i < outside.size() && outside.get(i).getClassName().startsWith("dev.merapi.");
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
        return file + ":" + line;
    }
}
