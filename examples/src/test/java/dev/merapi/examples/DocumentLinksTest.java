// SPDX-License-Identifier: Apache-2.0
package dev.merapi.examples;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;

/** Every link leads somewhere, every path that is named exists, and every page is reached from the index. */
final class DocumentLinksTest {
    private static final Pattern LINK = Pattern.compile("\\[[^\\]\\n]+\\]\\(([^)\\s]+)\\)");
    private static final Pattern HEADING = Pattern.compile("^#+ (.+)$", Pattern.MULTILINE);
    private static final Pattern NAMED_PATH = Pattern.compile(
            "`((?:core|testkit|native-cpu|native-cuda|examples|benchmarks|scripts|docs)(?:/[\\w./-]+)?)`");
    private static final Pattern NAMED_PAGE = Pattern.compile("docs/[\\w-]+\\.md");

    @Test
    void linksLeadSomewhere() throws IOException {
        List<String> wrong = new ArrayList<>();
        for (String document : Documents.all()) {
            for (String link : links(document)) {
                String[] parts = link.split("#", 2);
                Path target = parts[0].isEmpty() ? Documents.ROOT.resolve(document) : resolve(document, parts[0]);
                if (!Files.exists(target)) {
                    wrong.add(document + ": " + link);
                } else if (parts.length > 1 && !anchors(target).contains(parts[1])) {
                    wrong.add(document + ": " + link + ": the headings are " + anchors(target));
                }
            }
        }
        assertThat(wrong).isEmpty();
    }

    @Test
    void everyPageIsReachedFromTheIndex() throws IOException {
        Set<Path> reached = links("docs/index.md").stream()
                .map(link -> resolve("docs/index.md", link.split("#", 2)[0]))
                .collect(Collectors.toSet());
        reached.add(Documents.ROOT.resolve("docs/index.md"));
        assertThat(Documents.all().stream().filter(d -> d.startsWith("docs/")).map(Documents.ROOT::resolve))
                .allMatch(reached::contains);
        assertThat(links("README.md")).contains("docs/index.md");
    }

    @Test
    void pathsThatAreNamedExist() throws IOException {
        List<String> wrong = new ArrayList<>();
        for (String document : Documents.all()) {
            Matcher m = NAMED_PATH.matcher(Documents.text(document));
            while (m.find()) {
                if (!Files.exists(Documents.ROOT.resolve(m.group(1)))) {
                    wrong.add(document + ": " + m.group(1));
                }
            }
        }
        for (Path source : Documents.sources("(\\w|-)+/src/.*|scripts/.*", ".*\\.(java|h|cpp|cuh)|[a-z-]+(\\.sh)?")) {
            Matcher m = NAMED_PAGE.matcher(Files.readString(source));
            while (m.find()) {
                if (!Files.exists(Documents.ROOT.resolve(m.group()))) {
                    wrong.add(source + ": " + m.group());
                }
            }
        }
        assertThat(wrong).isEmpty();
    }

    /** To files of the project. */
    private static Set<String> links(String document) throws IOException {
        Set<String> found = new TreeSet<>();
        Matcher m = LINK.matcher(Documents.text(document).replaceAll("(?ms)^```.*?^```$", ""));
        while (m.find()) {
            if (!m.group(1).startsWith("https://")) {
                found.add(m.group(1));
            }
        }
        return found;
    }

    private static Path resolve(String document, String link) {
        return Documents.ROOT.resolve(document).resolveSibling(link).normalize();
    }

    /** As GitHub makes them of headings. */
    private static Set<String> anchors(Path page) throws IOException {
        if (!page.toString().endsWith(".md")) {
            return Collections.emptySet();
        }
        Set<String> found = new TreeSet<>();
        Matcher m = HEADING.matcher(Files.readString(page).replaceAll("(?ms)^```.*?^```$", ""));
        while (m.find()) {
            found.add(m.group(1)
                    .toLowerCase(Locale.ROOT)
                    .replaceAll("[^\\p{L}\\p{N} _-]", "")
                    .replace(' ', '-'));
        }
        return found;
    }
}
