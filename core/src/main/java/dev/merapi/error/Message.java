// SPDX-License-Identifier: Apache-2.0
package dev.merapi.error;

import java.io.Serializable;
import org.jspecify.annotations.Nullable;

/**
 * The one shape of an error text: the op, what is wrong with the numbers, then the facts, one a line, then a fix that
 * would work here. Built only when something is about to be thrown. See Note [Names in errors] in {@link OpError}.
 */
public final class Message implements Serializable {
    private static final long serialVersionUID = 1L;

    private final StringBuilder text;
    private @Nullable String op;
    private @Nullable String argument;

    private Message(String headline) {
        text = new StringBuilder(headline);
    }

    /**
     * Starts with what is wrong; the op's name comes when the error leaves the op.
     *
     * @param headline what is wrong, with the numbers
     * @return a message that can be added to
     */
    public static Message of(String headline) {
        return new Message(headline);
    }

    /**
     * Starts with {@code op: what is wrong}, where no call of an op would say so.
     *
     * @param op the op or method
     * @param headline what is wrong, with the numbers
     * @return a message that can be added to
     */
    public static Message of(String op, String headline) {
        return new Message(headline).in(op);
    }

    /**
     * Adds a line {@code name: value}.
     *
     * @param name what it is about
     * @param value its value now
     * @return this
     */
    public Message fact(String name, @Nullable Object value) {
        text.append("\n  ").append(name).append(": ").append(value);
        return this;
    }

    /**
     * Adds the line that says what to do.
     *
     * @param advice something that works here; it ends with a full stop
     * @return this
     */
    public Message fix(String advice) {
        return fact("fix", advice);
    }

    /**
     * Adds the line that says which artifact to add, as it is written in a {@code pom.xml}.
     *
     * @param artifact of the group {@code dev.merapi}, in the version of this one
     * @return this
     */
    public Message fixByArtifact(String artifact) {
        return fix("add " + Artifact.xml(artifact) + ".");
    }

    /**
     * Which argument is at fault; the headline says it in words.
     *
     * @param name as the op's schema has it
     * @return this
     */
    public Message argument(String name) {
        argument = name;
        return this;
    }

    /**
     * Puts the name of an op in front, unless the text begins with it; of one op in another that of the outer one.
     *
     * @param name such as {@code merapi::add}
     * @return this
     */
    public Message in(String name) {
        if (name.equals(op)) {
            return this;
        }
        String own = name.substring(name.indexOf("::") < 0 ? 0 : name.indexOf("::") + 2) + ": ";
        if (text.indexOf(own) == 0) {
            text.replace(0, own.length(), name + ": ");
        } else if (text.indexOf(name + ": ") != 0) {
            text.insert(0, name + (op == null ? ": " : ": in "));
        }
        op = name;
        return this;
    }

    @Nullable
    String op() {
        return op;
    }

    @Nullable
    String argument() {
        return argument;
    }

    @Override
    public String toString() {
        return text.toString();
    }
}
