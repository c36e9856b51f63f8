// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.misuse;

import java.io.IOException;
import java.lang.reflect.Constructor;
import java.lang.reflect.Field;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.lang.reflect.Parameter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/** The names that users of the modules can write: of types, their members, arguments, and system properties. */
final class PublicNames {
    private static final Pattern EXPORT = Pattern.compile("exports ([\\w.]+);");
    private static final Pattern PROPERTY = Pattern.compile("get(?:Property|Boolean|Long|Integer)\\(\\s*\"([\\w.]+)\"");
    private static final Pattern PUBLIC_METHOD = Pattern.compile("public [^=;(]*?(\\w+)\\(");

    /** By the simple name of a type. */
    private final Map<String, Set<String>> members = new HashMap<>();

    private final Set<String> methods = new HashSet<>();
    private final Set<String> constants = new HashSet<>();
    private final Set<String> arguments = new HashSet<>();
    private final Set<String> properties = new HashSet<>();

    /** Of modules, by the folders of their main sources. */
    PublicNames(List<Path> modules) throws IOException {
        for (Path module : modules) {
            for (Path source : sources(module)) {
                Matcher read = PROPERTY.matcher(Files.readString(source));
                while (read.find()) {
                    properties.add(read.group(1));
                }
            }
            Matcher export = EXPORT.matcher(Files.readString(module.resolve("module-info.java")));
            while (export.find()) {
                for (Path source : sources(module.resolve(export.group(1).replace('.', '/')))) {
                    String name = source.getFileName().toString().replace(".java", "");
                    if (!name.contains("-info")) {
                        type(export.group(1) + "." + name, source);
                    }
                }
            }
        }
    }

    static List<Path> sources(Path folder) throws IOException {
        try (Stream<Path> files = Files.walk(folder)) {
            return files.filter(f -> f.toString().endsWith(".java")).sorted().toList();
        }
    }

    private void type(String name, Path source) throws IOException {
        try {
            type(Class.forName(name, false, PublicNames.class.getClassLoader()));
        } catch (ClassNotFoundException e) { // of a module that is not on the path of this test
            Set<String> own = members(name.substring(name.lastIndexOf('.') + 1));
            Matcher method = PUBLIC_METHOD.matcher(Files.readString(source));
            while (method.find()) {
                own.add(method.group(1));
                methods.add(method.group(1));
            }
        }
    }

    private Set<String> members(String type) {
        return members.computeIfAbsent(type, t -> new HashSet<>());
    }

    private void type(Class<?> c) {
        if (!Modifier.isPublic(c.getModifiers())) {
            return;
        }
        Set<String> own = members(c.getSimpleName());
        List<Method> all = new ArrayList<>(List.of(c.getMethods()));
        for (Method m : c.getDeclaredMethods()) { // those that a subclass calls or overrides
            if (Modifier.isProtected(m.getModifiers())) {
                all.add(m);
            }
        }
        for (Method m : all) {
            own.add(m.getName());
            if (m.getDeclaringClass().getName().startsWith("dev.merapi.")) {
                methods.add(m.getName());
                for (Parameter p : m.getParameters()) {
                    arguments.add(p.getName());
                }
            }
        }
        for (Constructor<?> made : c.getConstructors()) {
            for (Parameter p : made.getParameters()) {
                arguments.add(p.getName());
            }
        }
        for (Field f : c.getFields()) {
            own.add(f.getName());
            constants.add(f.getName());
        }
        for (Class<?> inner : c.getClasses()) {
            own.add(inner.getSimpleName());
            type(inner);
        }
    }

    boolean isType(String name) {
        return members.containsKey(name);
    }

    boolean isMember(String type, String name) {
        return isType(type) && members.get(type).contains(name);
    }

    boolean isMethod(String name) {
        return methods.contains(name);
    }

    boolean isConstant(String name) {
        return constants.contains(name);
    }

    boolean isArgument(String name) {
        return arguments.contains(name);
    }

    boolean isProperty(String name) {
        return properties.contains(name);
    }
}
