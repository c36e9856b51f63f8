// SPDX-License-Identifier: Apache-2.0
package dev.merapi.data;

import java.util.Arrays;
import java.util.Objects;
import java.util.stream.Stream;

/**
 * Characters as numbers: the code points of a text, numbered in their order from 0. What a model of characters reads and writes is in
 * these numbers, so its vocabulary is kept beside its weights: {@link #characters} is all of it.
 */
public final class Vocabulary {
    private final int[] codePoints;

    private Vocabulary(int[] codePoints) {
        this.codePoints = codePoints;
    }

    /**
     * The characters that occur in these texts.
     *
     * @param texts in any order; a character that occurs again changes nothing
     * @return the vocabulary
     */
    public static Vocabulary of(CharSequence... texts) {
        Objects.requireNonNull(texts, "texts");
        return new Vocabulary(Stream.of(texts)
                .map(text -> Objects.requireNonNull(text, "texts"))
                .flatMapToInt(CharSequence::codePoints)
                .distinct()
                .sorted()
                .toArray());
    }

    /** {@return the number of different characters} */
    public int size() {
        return codePoints.length;
    }

    /** {@return all characters, in their order: {@code Vocabulary.of(v.characters())} is the same vocabulary} */
    public String characters() {
        return new String(codePoints, 0, codePoints.length);
    }

    /**
     * Whether a character has a number.
     *
     * @param codePoint any
     * @return whether it is in the vocabulary
     */
    public boolean contains(int codePoint) {
        return Arrays.binarySearch(codePoints, codePoint) >= 0;
    }

    /**
     * The numbers of a text's characters.
     *
     * @param text of characters that are in the vocabulary
     * @return a number from 0 below {@link #size} for each
     * @throws IllegalArgumentException if a character is not in the vocabulary
     */
    public int[] encode(CharSequence text) {
        Objects.requireNonNull(text, "text");
        return text.codePoints()
                .map(c -> {
                    int token = Arrays.binarySearch(codePoints, c);
                    if (token < 0) {
                        throw new IllegalArgumentException(
                                "vocabulary: character '" + Character.toString(c) + "' is not in the vocabulary");
                    }
                    return token;
                })
                .toArray();
    }

    /**
     * {@return the text that these numbers stand for}
     *
     * @param tokens each from 0 below {@link #size}
     */
    public String decode(int... tokens) {
        Objects.requireNonNull(tokens, "tokens");
        StringBuilder s = new StringBuilder();
        for (int token : tokens) {
            if (token < 0 || token >= codePoints.length) {
                throw new IllegalArgumentException(
                        "vocabulary.decode: token " + token + " of a vocabulary of " + codePoints.length);
            }
            s.appendCodePoint(codePoints[token]);
        }
        return s.toString();
    }

    @Override
    public String toString() {
        return codePoints.length + " characters";
    }
}
