// Package browser tests the pages of package web in a real browser: Chromium
// without a window, driven by chromedp. The tests are skipped where no
// Chromium is installed; scripts/setup.sh installs it for make gate.
//
// It is a module of its own, so that what drives the browser stays out of the
// library's go.mod.
//
// With REDLOCK_TEST_SCREENSHOTS=DIR the tests write what they see into DIR. Those
// of docs/web.md are written by
//
//	REDLOCK_TEST_SCREENSHOTS=$PWD/docs go -C web/browser test -run Screenshots .
package browser
