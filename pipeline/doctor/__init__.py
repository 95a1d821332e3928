"""The doctor: looks at what people get wrong, before they do; nothing is changed anywhere."""
