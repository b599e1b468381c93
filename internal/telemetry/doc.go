// Package telemetry reports events as metrics and traces of OpenTelemetry. It uses only the API; the providers that the
// program chose process them.
//
// A nil *Telemetry, *Node or *Span reports nothing: every method checks for nil first, so a program without providers
// pays only for a comparison. Counts that other packages keep anyway are read when the metrics are collected.
//
// The providers are foreign code. Nothing here may be called while holding a
// mutex that collection needs.
package telemetry
