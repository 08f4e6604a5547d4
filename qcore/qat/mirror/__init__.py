"""Mirror descent quantization (Ajanthan et al., AISTATS 2021) for one and two bits."""
