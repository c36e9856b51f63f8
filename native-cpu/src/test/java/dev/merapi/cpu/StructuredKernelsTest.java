// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cpu;

import static org.assertj.core.api.Assertions.assertThat;

import dev.merapi.backend.KernelTable;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Kernels come into the table with the first op of their group: each has to be found by the op that it serves. */
class StructuredKernelsTest {
    @ParameterizedTest
    @EnumSource(StructuredKernels.Group.class)
    void aGroupNamesTheClassesOfAllItsOps(StructuredKernels.Group group) {
        KernelTable table = new KernelTable();
        group.into(table);
        assertThat(table.signatures())
                .isNotEmpty()
                .allSatisfy((op, signature) ->
                        assertThat(group.has(signature.arguments())).as(op).isTrue());
    }
}
