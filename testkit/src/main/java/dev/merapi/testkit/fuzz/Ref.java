// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.fuzz;

/** A tensor of a program, by its number; tensors are numbered in the order in which steps make them. */
record Ref(int number) {
    @Override
    public String toString() {
        return "t" + number;
    }
}
