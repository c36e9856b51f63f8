// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.sim;

import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Rewrites {@code extern __shared__ T name[];}, which has no meaning to a host compiler, for the simulator: inside of a
 * function to a pointer, at file scope to a macro. Line numbers stay as they are.
 */
public final class DynamicShared {
    private static final Pattern DECLARATION =
            Pattern.compile("extern\\s+__shared__\\s+((?:__align__\\s*\\([^;]*?\\)\\s*|alignas\\s*\\([^;]*?\\)\\s*)*)"
                    + "([A-Za-z_][\\w\\s:]*?)\\s*\\b([A-Za-z_]\\w*)\\s*\\[\\s*\\]\\s*;");
    private static final Pattern TRANSPARENT = Pattern.compile("(extern\\s*\"C\"|namespace(\\s+\\w+)?)\\s*$");

    private DynamicShared() {}

    static String rewrite(String source) {
        Matcher m = DECLARATION.matcher(source);
        StringBuilder result = new StringBuilder();
        while (m.find()) {
            String type = m.group(2);
            String name = m.group(3);
            int lines = (int) m.group().chars().filter(c -> c == '\n').count();
            String replacement = insideFunction(source, m.start())
                    ? type + "* const " + name + " = static_cast<" + type + "*>(cudasim::dynamic_shared);"
                            + "\n".repeat(lines)
                    : "\n#undef " + name + "\n#define " + name + " (static_cast<" + type
                            + "*>(cudasim::dynamic_shared))\n#line " + (lineOf(source, m.end()) + 0) + "\n";
            m.appendReplacement(result, Matcher.quoteReplacement(replacement));
        }
        return m.appendTail(result).toString();
    }

    private static int lineOf(String source, int end) {
        // What stands before the declaration may hold #line directives; count from the last one.
        int line = 1;
        for (String text : source.substring(0, end).split("\n", -1)) {
            Matcher m = Pattern.compile("\\s*#\\s*line\\s+(\\d+).*").matcher(text);
            line = m.matches() ? Integer.parseInt(m.group(1)) : line + 1;
        }
        return line - 1;
    }

    /** Counts braces up to a place; those of namespaces and {@code extern "C"} do not count. */
    private static boolean insideFunction(String source, int end) {
        int depth = 0;
        int transparent = 0;
        for (int i = 0; i < end; i++) {
            char c = source.charAt(i);
            if (c == '/' && i + 1 < end && source.charAt(i + 1) == '/') {
                i = skipTo(source, "\n", i, end);
            } else if (c == '/' && i + 1 < end && source.charAt(i + 1) == '*') {
                i = skipTo(source, "*/", i + 2, end) + 1;
            } else if (c == '"' || c == '\'') {
                i = literal(source, i, end);
            } else if (c == '{') {
                if (depth == 0
                        && TRANSPARENT
                                .matcher(source.substring(Math.max(0, i - 80), i))
                                .find()) {
                    transparent++;
                } else {
                    depth++;
                }
            } else if (c == '}') {
                if (depth > 0) {
                    depth--;
                } else if (transparent > 0) {
                    transparent--;
                }
            }
        }
        return depth > 0;
    }

    private static int skipTo(String source, String what, int from, int end) {
        int at = source.indexOf(what, from);
        return at < 0 || at > end ? end : at;
    }

    private static int literal(String source, int start, int end) {
        char quote = source.charAt(start);
        for (int i = start + 1; i < end; i++) {
            if (source.charAt(i) == '\\') {
                i++;
            } else if (source.charAt(i) == quote) {
                return i;
            }
        }
        return end;
    }
}
