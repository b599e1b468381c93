// Package telemetry reports what happens to the metrics and traces of OpenTelemetry. It knows their API only; what becomes
// of them is up to the providers that the program chose.
//
// A nil *Telemetry, *Node or *Span reports nothing: every method begins with
// that question, and so a program without providers pays for a comparison.
// Numbers that other packages count anyway are read when the metrics are
// collected.
//
// The providers are foreign code. Nothing here may be called while holding a
// mutex that collection needs.
package telemetry
