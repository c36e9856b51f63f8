// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.fuzz;

import java.util.Locale;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/** The verdict on an exception: one of those that are documented, and its text says which op refused. */
final class Errors {
    /** What the documentation names besides the project's own. */
    private static final Set<Class<?>> OTHERS = Set.of(IllegalArgumentException.class, IllegalStateException.class);

    private Errors() {}

    static @Nullable Finding judge(Step step, Throwable e, int at) {
        String name = step.callee().name();
        boolean documented = e.getClass().getPackageName().equals("dev.merapi.error") || OTHERS.contains(e.getClass());
        String text = String.valueOf(e.getMessage());
        boolean internal = text.contains("native program refused") || text.contains("please report");
        if (!documented || internal) {
            StackTraceElement[] trace = e.getStackTrace();
            String where = trace.length == 0 ? "" : " at " + trace[0];
            return new Finding(
                    Finding.Kind.UNDOCUMENTED_ERROR, name, at, e.getClass().getSimpleName() + ": " + text + where);
        }
        String head = plain(text.split("\n")[0]);
        String local = plain(name.substring(name.indexOf(':') < 0 ? 0 : name.lastIndexOf(':') + 1));
        boolean named = head.contains(local)
                || head.matches("[a-z][a-z0-9:]*: .*")
                || !(step.callee() instanceof OpCallee || step.callee() instanceof MethodCallee);
        return named ? null : new Finding(Finding.Kind.NAMELESS_ERROR, name, at, text.split("\n")[0]);
    }

    private static String plain(String text) {
        return text.replace("_", "").toLowerCase(Locale.ROOT);
    }
}
