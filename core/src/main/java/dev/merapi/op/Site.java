// SPDX-License-Identifier: Apache-2.0
package dev.merapi.op;

/** The place in the source that registered something. */
public record Site(String file, int line, String method) {
    private static final StackWalker WALKER = StackWalker.getInstance();

    /** The innermost frame that is not part of the op system itself, nor of the one-line form for pointwise ops. */
    static Site caller() {
        return WALKER.walk(frames -> frames.filter(f -> !f.getClassName().startsWith("dev.merapi.op.")
                        && !f.getClassName().startsWith("dev.merapi.ops.Pointwise")
                        && !f.getClassName().startsWith("java."))
                .findFirst()
                .map(f -> new Site(
                        f.getFileName() == null ? f.getClassName() : f.getFileName(),
                        f.getLineNumber(),
                        f.getClassName() + "." + f.getMethodName()))
                .orElse(new Site("unknown", 0, "unknown")));
    }

    @Override
    public String toString() {
        return file + ":" + line;
    }
}
