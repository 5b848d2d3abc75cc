"""Bindings that make a call native to a library's own autodiff; each imports that library only."""
