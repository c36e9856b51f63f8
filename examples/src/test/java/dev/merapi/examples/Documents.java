// SPDX-License-Identifier: Apache-2.0
package dev.merapi.examples;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/** The documents of the project, and the blocks of code in them. */
final class Documents {
    static final Path ROOT = Path.of("").toAbsolutePath().getParent();
    private static final Pattern BLOCK =
            Pattern.compile("(?:<!-- ([^\\n]*) -->\\n)?^```(\\w*)\\n(.*?)^```$", Pattern.DOTALL | Pattern.MULTILINE);
    private static final Pattern TITLE = Pattern.compile("(?://|#) file: ([^\\n]+)\\n");

    private Documents() {}

    /**
     * A block of code.
     *
     * @param remark of the comment in the line above, which no reader sees; may be empty
     * @param title what follows {@code // file:} in its first line; empty for a piece of code
     */
    record Block(String document, String remark, String language, String title, String text) {
        @Override
        public String toString() {
            return document + ": " + (title.isEmpty() ? text.lines().findFirst().orElse("") : title);
        }
    }

    /** Relative to the root. The change log tells of what was. */
    static List<String> all() throws IOException {
        List<String> names = new ArrayList<>();
        for (Path folder : List.of(ROOT, ROOT.resolve("docs"))) {
            try (Stream<Path> files = Files.list(folder)) {
                files.filter(f -> f.toString().endsWith(".md") && !f.endsWith("CHANGELOG.md"))
                        .map(f -> ROOT.relativize(f).toString().replace('\\', '/'))
                        .sorted()
                        .forEach(names::add);
            }
        }
        return names;
    }

    static String text(String document) throws IOException {
        return Files.readString(ROOT.resolve(document));
    }

    static List<Block> blocks(String document) throws IOException {
        List<Block> blocks = new ArrayList<>();
        Matcher m = BLOCK.matcher(text(document));
        while (m.find()) {
            Matcher title = TITLE.matcher(m.group(3));
            boolean named = title.lookingAt();
            blocks.add(new Block(
                    document,
                    m.group(1) == null ? "" : m.group(1),
                    m.group(2),
                    named ? title.group(1) : "",
                    named ? m.group(3).substring(title.end()) : m.group(3)));
        }
        return blocks;
    }

    /** The cells of all rows of tables whose first cell is not a headline. */
    static List<List<String>> rows(String document) throws IOException {
        List<List<String>> rows = new ArrayList<>();
        String before = "";
        for (String line : text(document).lines().toList()) {
            if (line.startsWith("|") && !line.matches("[|\\- ]+") && before.startsWith("|")) {
                List<String> cells = new ArrayList<>();
                for (String cell : line.substring(1).split("(?<!\\\\)\\|")) {
                    cells.add(cell.strip());
                }
                rows.add(cells);
            }
            before = line;
        }
        return rows;
    }

    /** What stands between single backquotes. */
    static List<String> code(String text) {
        List<String> found = new ArrayList<>();
        Matcher m = Pattern.compile("`([^`\\n]+)`").matcher(text);
        while (m.find()) {
            found.add(m.group(1));
        }
        return found;
    }

    /** All text of files below the root that a source is made of, with these endings. */
    static List<Path> sources(String folders, String endings) throws IOException {
        List<Path> found = new ArrayList<>();
        try (Stream<Path> files = Files.find(
                ROOT,
                20,
                (f, a) -> a.isRegularFile()
                        && f.getFileName().toString().matches(endings)
                        && ROOT.relativize(f).toString().replace('\\', '/').matches(folders))) {
            files.forEach(found::add);
        }
        return found;
    }
}
