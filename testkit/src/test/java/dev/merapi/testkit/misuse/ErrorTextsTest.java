// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.misuse;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/** What errors advise can be done: each method, type, constant and property that their texts name exists and is public. */
class ErrorTextsTest {
    private static final Path ROOT = Path.of("").toAbsolutePath().getParent();
    private static final List<Path> MODULES = Stream.of("core", "native-cpu", "native-cuda", "testkit")
            .map(module -> ROOT.resolve(module).resolve("src/main/java"))
            .toList();

    /** Names of Java and of what is outside of the modules. */
    private static final Set<String> OTHERS = Set.of(
            "ByteBuffer",
            "Files",
            "List",
            "Map",
            "MethodHandles",
            "Optional",
            "Set",
            "String", // Java
            "CUDA",
            "CXX",
            "FOLDER",
            "PATH", // of the environment, and what stands for a value
            "GPU",
            "NVIDIA",
            "OpenBLAS",
            "cuBLASLt",
            "cublasLtCreate",
            "cublasLtMatmul", // libraries
            "GiB",
            "IDX",
            "INF",
            "META", // the folder META-INF
            "JSON",
            "NaN",
            "NumPy",
            "UTF");

    /** An option of the JVM, of which the properties of ours are known. */
    private static final Pattern OPTION = Pattern.compile("-(?:D([a-z][\\w.]*\\w)|XX:[+-]?\\w+)");

    private static final Pattern ELEMENT = Pattern.compile("List<(\\w+)>");
    private static final Pattern MEMBER = Pattern.compile("\\b([A-Z]\\w*)\\.(\\w+)");
    private static final Pattern CALL = Pattern.compile("\\b([a-z]\\w*)\\(");
    private static final Pattern TYPE =
            Pattern.compile("(?<![\\w.])(?=\\w*[a-z]\\w*[A-Z]|[A-Z][a-z]+[A-Z])([A-Z]\\w*)");
    private static final Pattern WORD = Pattern.compile("(?<![\\w.])([a-z]+[A-Z]\\w*)\\b(?!\\()");
    private static final Pattern CONSTANT = Pattern.compile("(?<![\\w.])([A-Z][A-Z0-9_]{2,})\\b");

    @Test
    void whatErrorsNameExists() throws IOException {
        PublicNames names = new PublicNames(MODULES);
        List<String> wrong = new ArrayList<>();
        int texts = 0;
        for (Path module : MODULES) {
            for (Path source : PublicNames.sources(module)) {
                for (ErrorTexts.Text text : ErrorTexts.of(Files.readString(source))) {
                    texts++;
                    for (String name : unknown(text.words(), names)) {
                        wrong.add(source.getFileName() + ":" + text.line() + ": no " + name + ", in: " + text.words());
                    }
                }
            }
        }
        assertThat(wrong).as(texts + " texts").isEmpty();
        assertThat(texts).isGreaterThan(300);
    }

    @Test
    void whatDoesNotExistIsFound() throws IOException {
        PublicNames names = new PublicNames(MODULES);
        String source = """
                // throw new A("in(a) comment");
                throw new A("x.size(0)\\n  fix: call t.clone(" + dim + "), or to(DType." + t + ")." + more);
                throw new A(m.fact("y", 1).fix((b ? "retainGraph, " : "") + "Scope.leave(t), or copy()"));
                return m.fix("-Dmerapi.nothing=1, a List<boolean>, DType.FLOAT31, SKIP_ALL or TensorBag").of("after()");
                """;
        List<String> found = new ArrayList<>();
        ErrorTexts.of(source).forEach(text -> found.addAll(unknown(text.words(), names)));
        assertThat(found)
                .containsExactlyInAnyOrder(
                        "clone()",
                        "retainGraph",
                        "Scope.leave",
                        "leave()",
                        "-Dmerapi.nothing",
                        "List<boolean>",
                        "DType.FLOAT31",
                        "SKIP_ALL",
                        "TensorBag");
    }

    private static List<String> unknown(String text, PublicNames names) {
        List<String> all = new ArrayList<>();
        for (Matcher m = OPTION.matcher(text); m.find(); ) {
            if (m.group(1) != null && !m.group(1).startsWith("org.bytedeco.") && !names.isProperty(m.group(1))) {
                all.add("-D" + m.group(1));
            }
        }
        String words = OPTION.matcher(text).replaceAll("");
        for (Matcher m = ELEMENT.matcher(words); m.find(); ) { // of objects: Java has no lists of primitives
            if (Character.isLowerCase(m.group(1).charAt(0))) {
                all.add(m.group());
            }
        }
        for (Matcher m = MEMBER.matcher(words); m.find(); ) {
            if (!OTHERS.contains(m.group(1)) && !names.isMember(m.group(1), m.group(2))) {
                all.add(m.group());
            }
        }
        for (Matcher m = CALL.matcher(words); m.find(); ) {
            if (!names.isMethod(m.group(1)) && !isOther(words, m.start())) {
                all.add(m.group(1) + "()");
            }
        }
        for (Matcher m = TYPE.matcher(words); m.find(); ) {
            if (!names.isType(m.group(1)) && !OTHERS.contains(m.group(1))) {
                all.add(m.group(1));
            }
        }
        for (Matcher m = WORD.matcher(words); m.find(); ) {
            if (!names.isMethod(m.group(1)) && !names.isArgument(m.group(1)) && !OTHERS.contains(m.group(1))) {
                all.add(m.group(1));
            }
        }
        for (Matcher m = CONSTANT.matcher(words); m.find(); ) {
            if (!names.isConstant(m.group(1)) && !OTHERS.contains(m.group(1))) {
                all.add(m.group(1));
            }
        }
        return all;
    }

    /** Whether a call is of a class of Java, as in {@code MethodHandles.lookup()}. */
    private static boolean isOther(String words, int start) {
        String before = words.substring(0, start);
        return OTHERS.stream().anyMatch(other -> before.endsWith(other + "."));
    }
}
