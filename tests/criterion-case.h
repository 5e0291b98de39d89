/* SPDX-License-Identifier: MIT */
#ifndef SKV_TESTS_CRITERION_CASE_H
#define SKV_TESTS_CRITERION_CASE_H

/*
 * criterion-case: runs one row of a test table inside a Criterion test.
 *
 * Criterion must not hear of a failure in a forked child (its test would never end), so
 * the row runs in a child of its own, and only the outcome is told to Criterion.
 */

void skv_criterion_case(unsigned int idx);

#endif
