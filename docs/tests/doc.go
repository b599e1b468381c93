// Package tests holds the documentation on observability to what the library does: every metric of the table is made to
// appear, and the dashboard and the alert rules ask for nothing else. It is a module of its own, so that the SDK of
// OpenTelemetry and the exporter for Prometheus stay out of the library's.
package tests
