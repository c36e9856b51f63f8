// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit;

import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;

import com.tngtech.archunit.core.importer.ClassFileImporter;
import com.tngtech.archunit.core.importer.ImportOption;

/** What a backend may know of the engine: everything below autograd, and nothing that is built on top. */
public final class BackendLayers {
    private BackendLayers() {}

    /** @throws AssertionError naming each class of the package that reaches too high */
    public static void check(String backendPackage) {
        noClasses()
                .that()
                .resideInAPackage(backendPackage + "..")
                .should()
                .dependOnClassesThat()
                .resideInAnyPackage(
                        "dev.merapi.autograd..",
                        "dev.merapi.nn..",
                        "dev.merapi.optim..",
                        "dev.merapi.data..",
                        "dev.merapi.io..",
                        "dev.merapi.train..")
                .check(new ClassFileImporter()
                        .withImportOption(new ImportOption.DoNotIncludeTests())
                        .importPackages(backendPackage));
    }
}
