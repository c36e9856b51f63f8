// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.misuse;

import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** What the errors of one Java source say: texts that are thrown, and advice in a call of {@code fix} elsewhere. */
final class ErrorTexts {
    /** Stands for a part of a text that is computed. */
    static final String COMPUTED = "…";

    /** A comment, a text block, a string, a character, or one character of code. */
    private static final Pattern TOKEN = Pattern.compile(
            "//[^\\n]*|/\\*.*?\\*/|\"\"\".*?\"\"\"|\"(?:\\\\.|[^\"\\\\\\n])*\"|'(?:\\\\.|[^'\\\\])+'|.",
            Pattern.DOTALL);

    record Text(int line, String words) {}

    private final List<String> tokens = new ArrayList<>();
    private final List<Integer> lines = new ArrayList<>();

    private ErrorTexts(String source) {
        int line = 1;
        Matcher m = TOKEN.matcher(source);
        while (m.find()) {
            String token = m.group();
            boolean comment = token.startsWith("//") || token.startsWith("/*");
            if (!comment && !token.isBlank()) {
                tokens.add(token);
                lines.add(line);
            }
            line += (int) token.chars().filter(c -> c == '\n').count();
        }
    }

    static List<Text> of(String source) {
        return new ErrorTexts(source).find();
    }

    private List<Text> find() {
        List<Text> all = new ArrayList<>();
        for (int i = 0; i < tokens.size(); i++) {
            if (endsWith(i, "throw") && !isThrows(i) || endsWith(i, ".fix(")) {
                int end = end(i + 1);
                all.add(text(i + 1, end));
                i = end;
            }
        }
        return all;
    }

    /** Whether {@code throw} at {@code i} is the beginning of {@code throws SomeException}. */
    private boolean isThrows(int i) {
        return i + 2 < tokens.size()
                && tokens.get(i + 1).equals("s")
                && Character.isUpperCase(tokens.get(i + 2).charAt(0));
    }

    /** Where the brackets that are open at {@code from} close, or the statement ends. */
    private int end(int from) {
        int depth = 0;
        int i = from;
        for (; i < tokens.size() && !tokens.get(i).equals(";"); i++) {
            depth += tokens.get(i).equals("(") ? 1 : tokens.get(i).equals(")") ? -1 : 0;
            if (depth < 0) {
                break;
            }
        }
        return i;
    }

    private Text text(int from, int end) {
        StringBuilder words = new StringBuilder();
        for (String token : tokens.subList(from, end)) {
            if (token.length() > 1 && token.charAt(0) == '"') {
                words.append(token, 1, token.length() - 1);
            } else if (!token.equals("+") && !words.toString().endsWith(COMPUTED)) {
                words.append(COMPUTED);
            }
        }
        return new Text(lines.get(from), words.toString().replace("\\n", "\n"));
    }

    private boolean endsWith(int at, String word) {
        if (tokens.get(at).charAt(0) != word.charAt(word.length() - 1)) {
            return false;
        }
        String end = String.join("", tokens.subList(Math.max(0, at - word.length()), at + 1));
        return end.endsWith(word)
                && (end.equals(word) || word.startsWith(".") || !Character.isJavaIdentifierPart(end.charAt(0)));
    }
}
