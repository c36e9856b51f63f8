// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.runtime;

import dev.merapi.cuda.host.Resources;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * CUDA C++ that includes nothing.
 *
 * @param name what messages call it
 * @param text what stands behind the prelude
 * @param entries its {@code extern "C" __global__} functions
 */
public record KernelSource(String name, String text, List<String> entries) {
    /** As g++ and clang++ begin a message, and terminals and editors know it. */
    private static final Pattern MESSAGE = Pattern.compile("(.+?):(\\d+):.*\\berror\\b.*");
    /** As NVRTC does: {@code file(line): error: …}. */
    private static final Pattern MESSAGE_OF_NVRTC = Pattern.compile("^(\\S.*?)\\((\\d+)\\): (?=[a-z])");

    /** What every source begins with. */
    static final String PRELUDE = Resources.text("prelude.cuh");

    /** The file name of what is printed around a body. */
    public static final String GENERATED = "<generated>";

    /** An entry as it is formatted: it ends with its line, or with the next brace that begins one. */
    private static final Pattern ENTRY = Pattern.compile(
            "^extern \"C\" __global__ void\\s+(?:__launch_bounds__\\([^)]*\\)\\s+)?(\\w+)\\((?:[^\\n]*\\}\\n|.*?\\n\\}\\n)",
            Pattern.MULTILINE | Pattern.DOTALL);

    private static final Pattern LINE = Pattern.compile("\\s*#\\s*line\\s+(\\d+)(?:\\s+\"([^\"]*)\")?\\s*");

    /**
     * The same without its other entries, whose lines stay empty. Most of a compiler's time goes into entries, and few of a
     * family are used by one program.
     */
    public KernelSource only(String entry) {
        if (entries.size() == 1) {
            return this;
        }
        StringBuilder rest = new StringBuilder();
        int at = 0;
        for (Matcher m = ENTRY.matcher(text); m.find(); ) {
            if (!m.group(1).equals(entry) && entries.contains(m.group(1))) {
                rest.append(text, at, m.start());
                m.group().chars().filter(c -> c == '\n').forEach(c -> rest.append('\n'));
                at = m.end();
            }
        }
        return new KernelSource(name, rest.append(text.substring(at)).toString(), List.of(entry));
    }

    /** The whole translation unit; lines are counted from the beginning of {@link #text}. */
    public String unit() {
        return PRELUDE + "#line 1 \"" + name + "\"\n" + text;
    }

    /** The text of a line, as {@code #line} directives count; empty if there is none. */
    public String line(String file, int number) {
        String current = name;
        int at = 0;
        for (String line : text.split("\n", -1)) {
            Matcher m = LINE.matcher(line);
            if (m.matches()) {
                at = Integer.parseInt(m.group(1)) - 1;
                current = m.group(2) == null ? current : m.group(2);
            } else if (++at == number && current.equals(file)) {
                return line;
            }
        }
        return "";
    }

    /** What a compiler said, with places as {@code file:line:} whichever it was, and the text of the lines that it names. */
    public String explained(String said) {
        StringBuilder all = new StringBuilder();
        for (String line : said.split("\n")) {
            String message = MESSAGE_OF_NVRTC.matcher(line).replaceFirst("$1:$2: ");
            all.append(all.length() == 0 ? "" : "\n").append(message);
            Matcher m = MESSAGE.matcher(message);
            String text = m.lookingAt() ? line(m.group(1), Integer.parseInt(m.group(2))) : "";
            if (!text.isBlank()) {
                all.append("\n    > ").append(text.strip());
            }
        }
        return all.toString();
    }

    /** What an entry of the source at this place of a batch is called there. */
    public static String entryInBatch(String entry, int place) {
        return entry + "_" + place;
    }

    /** Several sources as one, each in a namespace of its own: much less to compile than all of them apart. */
    public static KernelSource batch(String name, List<KernelSource> sources) {
        StringBuilder all = new StringBuilder();
        List<String> entries = new ArrayList<>();
        for (int i = 0; i < sources.size(); i++) {
            KernelSource s = sources.get(i);
            for (String entry : s.entries) {
                String renamed = entryInBatch(entry, i);
                entries.add(renamed);
                all.append("#define ").append(entry).append(' ').append(renamed).append('\n');
            }
            all.append("namespace unit")
                    .append(i)
                    .append(" {\n#line 1 \"")
                    .append(s.name)
                    .append("\"\n");
            all.append(s.text).append("\n}\n");
            s.entries.forEach(entry -> all.append("#undef ").append(entry).append('\n'));
        }
        StringBuilder uses = new StringBuilder();
        for (int i = 0; i < sources.size(); i++) {
            uses.append("using namespace unit").append(i).append(";\n");
        }
        return new KernelSource(name, all.append(uses).toString(), List.copyOf(entries));
    }
}
