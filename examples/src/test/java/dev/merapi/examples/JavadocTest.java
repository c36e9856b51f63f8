// SPDX-License-Identifier: Apache-2.0
package dev.merapi.examples;

import static org.assertj.core.api.Assertions.assertThat;

import com.sun.source.doctree.DocCommentTree;
import com.sun.source.doctree.DocTree;
import com.sun.source.doctree.ParamTree;
import com.sun.source.tree.ClassTree;
import com.sun.source.tree.CompilationUnitTree;
import com.sun.source.tree.MethodTree;
import com.sun.source.tree.ModifiersTree;
import com.sun.source.tree.Tree;
import com.sun.source.tree.TypeParameterTree;
import com.sun.source.tree.VariableTree;
import com.sun.source.util.DocTrees;
import com.sun.source.util.JavacTask;
import com.sun.source.util.TreePath;
import com.sun.source.util.TreePathScanner;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import javax.lang.model.element.Modifier;
import javax.tools.JavaCompiler;
import javax.tools.StandardJavaFileManager;
import javax.tools.ToolProvider;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * What users see of core is described: each public or protected member, each parameter, each result. What javac's own
 * {@code -Xdoclint:missing/protected} says of exported packages, from the sources alone, which takes a second instead of a
 * compilation.
 */
@Tag("once")
class JavadocTest {
    private static final Path CORE = Path.of("../core/src/main/java");

    @Test
    void whatUsersSeeIsDescribed() throws IOException {
        List<String> missing = new ArrayList<>();
        Matcher export =
                Pattern.compile("exports ([\\w.]+);").matcher(Files.readString(CORE.resolve("module-info.java")));
        while (export.find()) {
            missing.addAll(gaps(CORE.resolve(export.group(1).replace('.', '/'))));
        }
        assertThat(missing).isEmpty();
    }

    @Test
    void aGapIsSeen(@TempDir Path folder) throws IOException {
        Files.writeString(folder.resolve("A.java"), """
                /** A class. */
                public class A<T> {
                    /** A sum. */
                    public <N> int sum(int a, int b) { return a + b; }
                    public void bare() {}
                    /** {@return something} */
                    protected int fine() { return 1; }
                    @Override public String toString() { return ""; }
                    int hidden() { return 1; }
                    /** A point. */
                    public record Point(long x) {}
                    /** A kind. */
                    public enum Kind { ONE }
                }
                """);
        assertThat(gaps(folder))
                .containsExactlyInAnyOrder(
                        "A.java: A @param <T>",
                        "A.java: sum @param <N>",
                        "A.java: sum @param a",
                        "A.java: sum @param b",
                        "A.java: sum @return",
                        "A.java: bare",
                        "A.java: Point @param x",
                        "A.java: ONE");
    }

    private static List<String> gaps(Path folder) throws IOException {
        List<Path> files;
        try (Stream<Path> all = Files.list(folder)) {
            files = all.filter(f -> f.toString().endsWith(".java")).sorted().toList();
        }
        JavaCompiler compiler = ToolProvider.getSystemJavaCompiler();
        List<String> gaps = new ArrayList<>();
        try (StandardJavaFileManager manager = compiler.getStandardFileManager(null, null, null)) {
            JavacTask task = (JavacTask) compiler.getTask(
                    null, manager, null, List.of("-proc:none"), null, manager.getJavaFileObjectsFromPaths(files));
            DocTrees docs = DocTrees.instance(task);
            for (CompilationUnitTree unit : task.parse()) {
                String file =
                        Path.of(unit.getSourceFile().toUri()).getFileName().toString();
                new Gaps(file, docs, gaps).scan(unit, null);
            }
        }
        return gaps;
    }

    private static final class Gaps extends TreePathScanner<Void, Void> {
        private final String file;
        private final DocTrees docs;
        private final List<String> found;

        Gaps(String file, DocTrees docs, List<String> found) {
            this.file = file;
            this.docs = docs;
            this.found = found;
        }

        @Override
        public Void visitClass(ClassTree type, Void unused) {
            if (!isSeen(type.getModifiers())) {
                return null;
            }
            Set<String> named = new HashSet<>();
            DocCommentTree comment = comment(type.getSimpleName().toString(), named);
            if (comment != null) {
                type.getTypeParameters().forEach(t -> require(type.getSimpleName(), "<" + t.getName() + ">", named));
            }
            for (Tree member : type.getMembers()) {
                boolean component = type.getKind() == Tree.Kind.RECORD
                        && member instanceof VariableTree v
                        && !v.getModifiers().getFlags().contains(Modifier.STATIC);
                if (component && comment != null) {
                    require(type.getSimpleName(), ((VariableTree) member).getName(), named);
                }
                if (!component) {
                    scan(member, null);
                }
            }
            return null;
        }

        @Override
        public Void visitVariable(VariableTree field, Void none) {
            if (isSeen(field.getModifiers())) {
                DocCommentTree unused = comment(field.getName().toString(), new HashSet<>());
            }
            return null;
        }

        @Override
        public Void visitMethod(MethodTree method, Void unused) {
            boolean inherited = method.getModifiers().getAnnotations().stream()
                    .anyMatch(a -> a.getAnnotationType().toString().endsWith("Override"));
            boolean implicit =
                    docs.getSourcePositions().getEndPosition(getCurrentPath().getCompilationUnit(), method)
                            < 0; // a constructor that nobody wrote
            if (inherited || implicit || !isSeen(method.getModifiers())) {
                return null;
            }
            String name = method.getName().contentEquals("<init>")
                    ? ((ClassTree) getCurrentPath().getParentPath().getLeaf())
                            .getSimpleName()
                            .toString()
                    : method.getName().toString();
            Set<String> named = new HashSet<>();
            DocCommentTree comment = comment(name, named);
            if (comment != null) {
                for (TypeParameterTree t : method.getTypeParameters()) {
                    require(name, "<" + t.getName() + ">", named);
                }
                method.getParameters().forEach(p -> require(name, p.getName(), named));
                Tree type = method.getReturnType();
                if (type != null && !type.toString().equals("void") && !named.contains("return")) {
                    found.add(file + ": " + name + " @return");
                }
            }
            return null;
        }

        private void require(Object of, Object parameter, Set<String> named) {
            if (!named.contains(parameter.toString())) {
                found.add(file + ": " + of + " @param " + parameter);
            }
        }

        /** Whether others than the package see it; members of interfaces are public. */
        private boolean isSeen(ModifiersTree modifiers) {
            TreePath above = getCurrentPath().getParentPath();
            boolean ofInterface = above != null
                    && above.getLeaf() instanceof ClassTree c
                    && (c.getKind() == Tree.Kind.INTERFACE || c.getKind() == Tree.Kind.ANNOTATION_TYPE);
            Set<Modifier> flags = modifiers.getFlags();
            return flags.contains(Modifier.PUBLIC)
                    || flags.contains(Modifier.PROTECTED)
                    || ofInterface && !flags.contains(Modifier.PRIVATE);
        }

        /** The comment of what is visited, and what its tags name. */
        private DocCommentTree comment(String name, Set<String> named) {
            DocCommentTree comment = docs.getDocCommentTree(getCurrentPath());
            if (comment == null) {
                found.add(file + ": " + name);
                return null;
            }
            Stream.concat(comment.getBlockTags().stream(), comment.getFirstSentence().stream())
                    .forEach(tag -> {
                        if (tag instanceof ParamTree p) {
                            named.add(
                                    p.isTypeParameter()
                                            ? "<" + p.getName() + ">"
                                            : p.getName().toString());
                        } else if (tag.getKind() == DocTree.Kind.RETURN) {
                            named.add("return");
                        }
                    });
            return comment;
        }
    }
}
