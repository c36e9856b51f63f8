// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit;

import java.io.IOException;
import java.lang.reflect.AnnotatedElement;
import java.lang.reflect.Executable;
import java.lang.reflect.Field;
import java.lang.reflect.GenericArrayType;
import java.lang.reflect.Member;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.lang.reflect.ParameterizedType;
import java.lang.reflect.Type;
import java.lang.reflect.TypeVariable;
import java.lang.reflect.WildcardType;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/**
 * The types that modules export to everybody, and whether these can be used from what is exported alone. A type that comes
 * or goes is seen in the review of a committed list.
 */
public final class ExportedTypes {
    private static final Pattern EXPORT = Pattern.compile("exports ([\\w.]+);");

    private final Path sources;
    private final Set<String> packages = new TreeSet<>();
    /** What others may name: the packages of this module, and those of its modules that it builds upon. */
    private final Set<String> nameable = new TreeSet<>();

    /**
     * A module.
     *
     * @param sources its folder of sources, with {@code module-info.java}
     * @param below the folders of the modules that it requires
     */
    public ExportedTypes(Path sources, Path... below) throws IOException {
        this.sources = sources;
        packages.addAll(exports(sources));
        nameable.addAll(packages);
        for (Path b : below) {
            nameable.addAll(exports(b));
        }
    }

    private static Set<String> exports(Path sources) throws IOException {
        Set<String> found = new TreeSet<>();
        Matcher m = EXPORT.matcher(Files.readString(sources.resolve("module-info.java")));
        while (m.find()) {
            found.add(m.group(1));
        }
        return found;
    }

    /** The public types of its exported packages, those nested in others too, in order of their names. */
    public List<String> names() throws IOException, ClassNotFoundException {
        return types().stream().map(Class::getName).sorted().toList();
    }

    private List<Class<?>> types() throws IOException, ClassNotFoundException {
        List<Class<?>> found = new ArrayList<>();
        for (String p : packages) {
            try (Stream<Path> files = Files.list(sources.resolve(p.replace('.', '/')))) {
                for (String file :
                        files.map(f -> f.getFileName().toString()).sorted().toList()) {
                    if (file.endsWith(".java") && !file.contains("-info")) {
                        String name = p + "." + file.substring(0, file.length() - ".java".length());
                        add(Class.forName(name, false, ExportedTypes.class.getClassLoader()), found);
                    }
                }
            }
        }
        return found;
    }

    private static void add(Class<?> type, List<Class<?>> found) {
        if (isVisible(type.getModifiers())) {
            found.add(type);
            for (Class<?> nested : type.getDeclaredClasses()) {
                add(nested, found);
            }
        }
    }

    private static boolean isVisible(int modifiers) {
        return Modifier.isPublic(modifiers) || Modifier.isProtected(modifiers);
    }

    /** Members that name a type which is not exported, each with that type. */
    public List<String> unnameable() throws IOException, ClassNotFoundException {
        Set<String> found = new TreeSet<>();
        for (Class<?> type : types()) {
            Set<Type> named = new HashSet<>(Arrays.asList(type.getGenericInterfaces()));
            Type above = type.getGenericSuperclass();
            if (above != null) {
                named.add(above);
            }
            report(type.getName(), type, named, found);
            for (Field f : type.getDeclaredFields()) {
                if (isVisible(f.getModifiers()) && !f.isSynthetic()) {
                    report(f, f, Set.of(f.getGenericType()), found);
                }
            }
            for (Executable e : Stream.concat(
                            Arrays.stream(type.getDeclaredMethods()), Arrays.stream(type.getDeclaredConstructors()))
                    .toList()) {
                if (isVisible(e.getModifiers()) && !e.isSynthetic()) {
                    Set<Type> parts = new HashSet<>(Arrays.asList(e.getGenericParameterTypes()));
                    parts.addAll(Arrays.asList(e.getGenericExceptionTypes()));
                    parts.addAll(Arrays.asList(e.getTypeParameters()));
                    if (e instanceof Method m) {
                        parts.add(m.getGenericReturnType());
                    }
                    report(e, e, parts, found);
                }
            }
        }
        return List.copyOf(found);
    }

    private void report(Object where, AnnotatedElement element, Set<? extends Type> named, Set<String> found) {
        Set<Class<?>> classes = new HashSet<>();
        Set<Type> seen = new HashSet<>();
        named.forEach(t -> classes(t, classes, seen));
        String place =
                element instanceof Member m ? m.getDeclaringClass().getName() + "." + m.getName() : where.toString();
        for (Class<?> c : classes) {
            if (c.getName().startsWith("dev.merapi.") && !nameable.contains(c.getPackageName())) {
                found.add(place + " names " + c.getName());
            }
        }
    }

    private static void classes(Type type, Set<Class<?>> found, Set<Type> seen) {
        if (!seen.add(type)) {
            return;
        }
        if (type instanceof Class<?> c) {
            Class<?> element = c;
            while (element.isArray()) {
                element = element.getComponentType();
            }
            found.add(element);
        } else if (type instanceof ParameterizedType p) {
            classes(p.getRawType(), found, seen);
            Arrays.stream(p.getActualTypeArguments()).forEach(t -> classes(t, found, seen));
        } else if (type instanceof GenericArrayType g) {
            classes(g.getGenericComponentType(), found, seen);
        } else if (type instanceof WildcardType w) {
            Arrays.stream(w.getUpperBounds()).forEach(t -> classes(t, found, seen));
            Arrays.stream(w.getLowerBounds()).forEach(t -> classes(t, found, seen));
        } else if (type instanceof TypeVariable<?> v) {
            Arrays.stream(v.getBounds()).forEach(t -> classes(t, found, seen));
        }
    }

    /**
     * Holds the module against a committed list, and its types against each other.
     *
     * @param list the file; written anew where {@code -Dmerapi.exported.update=true} asks for it
     * @throws AssertionError saying which types came or went, or which members nobody outside could use
     */
    public void check(Path list) throws IOException, ClassNotFoundException {
        List<String> now = names();
        if (Boolean.getBoolean("merapi.exported.update")) {
            Files.write(list, now);
        }
        List<String> known = Files.readAllLines(list);
        Set<String> come = new TreeSet<>(now);
        known.forEach(come::remove);
        Set<String> gone = new TreeSet<>(known);
        now.forEach(gone::remove);
        List<String> hidden = unnameable();
        if (!come.isEmpty() || !gone.isEmpty()) {
            throw new AssertionError(
                    "exported types that " + list + " does not have: " + come
                            + "\n  that are not exported any more: " + gone
                            + "\n  fix: if users shall see that, run this test with -Dmerapi.exported.update=true and commit the file.");
        }
        if (!hidden.isEmpty()) {
            throw new AssertionError(
                    "exported members that name types which are not: \n  " + String.join("\n  ", hidden));
        }
    }
}
